"""Models in words, for nodes that hand on text and for the badge of the loader."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor

from paragon_arch import Inspection, ParagonModelDescriptor

SEPARATOR = ";\n"
"""Of lines: ComfyUI's Preview Any runs them together."""


def describe(report: Inspection) -> str:
    """What was recognised, a line each: architecture, each value with its source, and what the user should know."""
    lines = [
        f"{report.name}: {report.generation}, layout {report.layout}, {report.variant or 'custom size'}",
        f"{_fused(report)}, {report.parameters:,} parameters, {report.dtype}",
        *(f"{name}: {item.value} ({item.source})" for name, item in report.values.items() if item.value is not None),
        *(f"note: {problem}" for problem in report.problems),
    ]
    return SEPARATOR.join(lines)


def describe_model(model: ImageModelDescriptor[Any]) -> str:
    """As `describe`, plus how the model may be run; of a foreign model what spandrel knows about it."""
    if isinstance(model, ParagonModelDescriptor):
        field = model.report.receptive_field
        sees = "the whole image or a window grid" if field is None else f"{field} pixels around each pixel"
        lines = [describe(model.report), f"sees {sees}"]
    else:
        lines = [f"{model.architecture.name}: not a ParagonSR model", f"scale: {model.scale}", ", ".join(model.tags)]
    holds = [
        name
        for name, held in (("fp32", True), ("fp16", model.supports_half), ("bf16", model.supports_bfloat16))
        if held
    ]
    return SEPARATOR.join(filter(None, [*lines, f"precisions: {', '.join(holds)}"]))


def badge(report: Inspection) -> str:
    """The three things to see at a glance."""
    scale = report.values["scale"].value if "scale" in report.values else report.hyperparameters.get("scale")
    return f"{report.variant or report.layout} · {scale}x · {_fused(report)}"


def _fused(report: Inspection) -> str:
    if report.fused:
        return "fused"
    return "not fused" if report.fusible else "nothing to fuse"
