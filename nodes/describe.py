"""Models in words, for nodes that hand on text and for the badge of the loader."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor

from paragon_arch import Inspection
from paragon_engine import describe as words
from paragon_engine.catalog import origin

SEPARATOR = ";\n"
"""Of lines: ComfyUI's Preview Any runs them together."""


def describe(report: Inspection) -> str:
    """What was recognised, a line each: architecture, each value with its source, and what the user should know."""
    return SEPARATOR.join(words.describe_report(report))


def describe_model(model: ImageModelDescriptor[Any]) -> str:
    """As `describe`, plus how the model may be run; of a foreign model what spandrel knows about it."""
    return SEPARATOR.join(words.describe_model(model))


def badge(report: Inspection) -> str:
    """What to see at a glance: size, scale, state, and whether it is a file of ours as it was shipped."""
    scale = report.values["scale"].value if "scale" in report.values else report.hyperparameters.get("scale")
    parts = [report.variant or report.layout, f"{scale}x", words.fused_state(report), origin(report.path)]
    return " · ".join(part for part in parts if part)
