"""Models in words, a list of lines that each host program joins as it shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paragon_arch import Inspection

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

from .catalog import origin


def describe_report(report: Inspection) -> list[str]:
    """What was recognised: architecture, each value with its source, and what the user should know."""
    return [
        f"{report.name}: {report.generation}, layout {report.layout}, {report.variant or 'custom size'}",
        f"{report.fused_state}, {report.parameters:,} parameters, {report.dtype}",
        *(f"{name}: {item.value} ({item.source})" for name, item in report.values.items() if item.value is not None),
        *([f"file: {found}"] if (found := origin(report.path)) else []),
        *(f"note: {problem}" for problem in report.problems),
    ]


def describe_model(model: ImageModelDescriptor[Any]) -> list[str]:
    """As `describe_report`, plus how the model may be run; of a foreign model what spandrel knows about it."""
    from paragon_arch import ParagonModelDescriptor

    if isinstance(model, ParagonModelDescriptor):
        field = model.report.receptive_field
        sees = "the whole image or a window grid" if field is None else f"{field} pixels around each pixel"
        lines = [*describe_report(model.report), f"sees {sees}"]
    else:
        lines = [f"{model.architecture.name}: not a ParagonSR model", f"scale: {model.scale}", ", ".join(model.tags)]
    half = (("fp16", model.supports_half), ("bf16", model.supports_bfloat16))
    held = ["fp32", *(name for name, holds in half if holds)]
    return [line for line in (*lines, f"precisions: {', '.join(held)}") if line]
