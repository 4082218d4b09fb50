"""Workflows as the browser stores them, in the form that the server runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "example_workflows"
_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def to_api(file: Path, definitions: dict[str, Any]) -> dict[str, Any]:
    """The API form of a stored workflow.

    Args:
        file: with nodes, links, and each node's widget values in the order of its definition.
        definitions: what the server answers to /object_info.
    """
    stored = json.loads(file.read_text(encoding="utf-8"))
    sources = {link[0]: [str(link[1]), link[2]] for link in stored["links"]}
    result: dict[str, Any] = {}
    for node in stored["nodes"]:
        if node["type"] not in definitions:  # a note, which the server never sees
            continue
        inputs = dict(zip(_widgets(definitions[node["type"]]), node["widgets_values"], strict=False))
        inputs |= {slot["name"]: sources[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
        result[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return result


def _widgets(definition: dict[str, Any]) -> Iterator[str]:
    """Names of the inputs that are widgets, in the order of their values."""
    for kind in ("required", "optional"):
        for name, (form, *_) in definition["input"].get(kind, {}).items():
            if isinstance(form, list) or form in _WIDGETS:
                yield name


def nodes_of(workflow: dict[str, Any], kind: str) -> list[str]:
    """Numbers of the nodes of a type."""
    return [number for number, node in workflow.items() if node["class_type"] == kind]
