"""A report as JSON, as a table for a terminal, and as Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict

from paragon_arch.errors import InvalidOptionError
from paragon_arch.files.records import json_object

from .run import Case, Report, Row

HEADER = ("form", "backend", "ms", "speed-up", "vs. its graph", "peak MB", "of GEMM", "of copy", "max. difference")


def as_json(report: Report) -> str:
    """Everything that was measured; seconds, bytes, and operations or bytes per second."""
    return json.dumps(asdict(report), indent=1) + "\n"


def from_json(text: str) -> Report:
    """What `as_json` wrote.

    Raises:
        InvalidOptionError: it is something else.
    """
    try:
        data = json_object(text)
        for case in data["cases"]:
            case["rows"] = [Row(**row) for row in case["rows"]]
        data["cases"] = [Case(**case) for case in data["cases"]]
        return Report(**data)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidOptionError(f"not a report of the benchmark: {error!r}") from error


def cells(row: Row) -> tuple[str, ...]:
    """A row under `HEADER`."""
    return (
        row.form,
        row.backend,
        f"{1000 * row.median:.1f}",
        f"{row.ratio:.2f}x",
        "" if row.against_graph is None else f"{row.against_graph:.2f}x",
        "" if row.peak is None else f"{row.peak / 1e6:.0f}",
        "" if row.gemm_share is None else f"{row.gemm_share:.0%}",
        "" if row.copy_share is None else f"{row.copy_share:.0%}",
        f"{row.difference:.0e}",
    )


def table(case: Case) -> list[tuple[str, ...]]:
    """A case as rows of cells, the header first."""
    return [HEADER, *(cells(row) for row in case.rows)]


def conditions(report: Report) -> str:
    """Where and how it was measured, in one sentence."""
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    return (
        f"{report.machine['processor']}, {report.machine['system']}, {report.device}, {report.threads} threads, "
        f"{versions}, {report.date}; ceilings: GEMM {report.ceilings['gemm'] / 1e9:.0f} GFLOP/s, "
        f"copy {report.ceilings['copy'] / 1e9:.1f} GB/s"
    )


def markdown(report: Report, *, title: str = "Benchmarks", plot: str | None = None, command: str | None = None) -> str:
    """The report as a document.

    Args:
        report: what was measured.
        title: its heading.
        plot: path of the plot, relative to the document.
        command: what makes the document, named at its top.
    """
    parts = [
        f"# {title}",
        *([] if command is None else [f"Made by `{command}`."]),
        _EXPLANATION,
        f"Measured on: {conditions(report)}.",
    ]
    if plot is not None:
        parts.append(f"![Speed-up of each form and backend over the baseline]({plot})")
    parts += ["## Summary", "\n".join(_summary(report))]
    for case in report.cases:
        parts += [f"## {case.model}, {case.size} x {case.size}", "\n".join(_markdown_table(table(case)))]
        parts += [f"Not measured: {name}: {reason}." for name, reason in case.failed.items()]
    return "\n\n".join(parts) + "\n"


_EXPLANATION = """\
Lines of one table were measured in turns in one run, FP32, batch 1, each right after a run of its own that does not
count. Medians; read ratios, not milliseconds.
*Speed-up* is the first line's median over this one's. *vs. its graph* compares our ONNX graph with the one that the
reference form exports to, on the same backend. *Peak* is memory that the first run took beyond what was held before
it. *Of GEMM* and *of copy* are the form's arithmetic, and the memory traffic of its operations, over what this machine
reaches in a matrix product and in a copy in the same run; traffic is only known for eager PyTorch, whose operations go
to memory one by one. *Max. difference* is from the first line's output."""


def _summary(report: Report) -> list[str]:
    rows = [("model", "size", "inference form, PyTorch", "ONNX Runtime vs. its graph", "fastest")]
    for case in report.cases:
        eager = _find(case, "torch")
        graph = _find(case, "onnxruntime")
        best = case.best
        rows.append(
            (
                case.model,
                str(case.size),
                "" if eager is None else f"{eager.ratio:.2f}x",
                "" if graph is None or graph.against_graph is None else f"{graph.against_graph:.2f}x",
                f"{best.ratio:.2f}x ({best.backend})",
            )
        )
    return _markdown_table(rows)


def _find(case: Case, backend: str) -> Row | None:
    return next((row for row in case.rows if row.form == "inference" and row.backend == backend), None)


def _markdown_table(rows: list[tuple[str, ...]]) -> list[str]:
    header, *body = rows
    return [f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *body)]
