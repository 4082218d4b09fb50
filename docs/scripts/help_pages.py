"""The nodes' help pages in ComfyUI, made of the names and tooltips in locales/ and of notes beside them.

``locales/LANGUAGE/help.json`` has the headings and, for each node, what is good to know. A language without it has no
pages: ComfyUI shows the English ones there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENGLISH = "en"


def pages(root: Path) -> dict[Path, str]:
    """Every page by its file, where ComfyUI looks for it."""
    made: dict[Path, str] = {}
    for file in sorted((root / "locales").glob("*/help.json")):
        language = file.parent.name
        words = json.loads(file.read_text(encoding="utf-8"))
        nodes = json.loads(file.with_name("nodeDefs.json").read_text(encoding="utf-8"))
        for name, node in nodes.items():
            place = f"{name}.md" if language == ENGLISH else f"{name}/{language}.md"
            made[root / "web/docs" / place] = _page(node, words, words["notes"][name])
    return made


def _page(node: Mapping[str, Any], words: Mapping[str, str], notes: list[str]) -> str:
    lines = [f"# {node['display_name']}", "", node["description"], ""]
    for kind in ("inputs", "outputs"):
        lines += [f"## {words[kind]}", "", f"| {words[f'{kind[:-1]}']} | {words['what']} |", "|---|---|"]
        lines += [f"| **{item['name']}** | {item['tooltip']} |" for item in node[kind].values()]
        lines.append("")
    lines += [f"## {words['notes heading']}", "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines)
