"""The benchmark: forms and backends of a network side by side, measured in turns in one run."""

from .plot import svg
from .report import as_json, conditions, from_json, markdown, table
from .run import Case, Options, Report, Row, benchmark

__all__ = [
    "Case",
    "Options",
    "Report",
    "Row",
    "as_json",
    "benchmark",
    "conditions",
    "from_json",
    "markdown",
    "svg",
    "table",
]
