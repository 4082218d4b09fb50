"""Models in words, for nodes that hand on text and for the badge of the loader."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor

from paragon_arch import Inspection
from paragon_engine import describe as words
from paragon_engine.catalog import CHANGED, UNMODIFIED, origin

SEPARATOR = ";\n"
"""Of lines: ComfyUI's Preview Any runs them together."""
ORIGINS = {UNMODIFIED: "shipped", CHANGED: "changed", "": ""}
"""What `origin` says, for the badge."""


def describe(report: Inspection) -> str:
    """What was recognised, a line each: architecture, each value with its source, and what the user should know."""
    return SEPARATOR.join(words.describe_report(report))


def describe_model(model: ImageModelDescriptor[Any]) -> str:
    """As `describe`, plus how the model may be run; of a foreign model what spandrel knows about it."""
    return SEPARATOR.join(words.describe_model(model))


def badge(report: Inspection) -> dict[str, Any]:
    """What to see at a glance, which the front end puts into the user's language (web/js/badge.js).

    ``state`` is "fused", "unfused" or, for a model in which there is nothing to fuse, "ready". ``origin`` is "shipped"
    for a file of ours as it was shipped, "changed" for one that is not any more, and "" for all others.
    """
    scale = report.values["scale"].value if "scale" in report.values else report.hyperparameters.get("scale")
    state = "fused" if report.fused else "unfused" if report.fusible else "ready"
    kind, known = report.variant or report.layout, ORIGINS[origin(report.path)]
    return {"kind": kind, "scale": scale, "state": state, "origin": known}
