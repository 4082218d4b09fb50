"""Tooltips, help pages and translations keep up with the nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from nodes.host import Inputs

LANGUAGES = ("en", "zh", "ja", "de", "fr")


@pytest.fixture
def definitions(host: object) -> dict[str, Any]:
    """What the code says, in the form of a translation."""
    assert host is not None
    return {key: _definition(key, node) for key, node in NODE_CLASS_MAPPINGS.items()}


def _definition(key: str, node: Any) -> dict[str, Any]:
    inputs = {name: form[1]["tooltip"] for part in node.INPUT_TYPES().values() for name, form in part.items()}
    assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    return {
        "display_name": NODE_DISPLAY_NAME_MAPPINGS[key],
        "description": node.DESCRIPTION,
        "inputs": {name: {"tooltip": text} for name, text in inputs.items()},
        "outputs": {str(index): {"tooltip": text} for index, text in enumerate(node.OUTPUT_TOOLTIPS)},
    }


def translation(root: Path, language: str) -> dict[str, Any]:
    return json.loads((root / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


def texts(tree: Any, path: str = "") -> dict[str, str]:
    """Path and text of every leaf."""
    if isinstance(tree, str):
        return {path: tree}
    return {key: text for name, part in tree.items() for key, text in texts(part, f"{path}/{name}").items()}


def test_english_is_what_the_code_says(root: Path, definitions: dict[str, Any]) -> None:
    assert translation(root, "en") == definitions


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_translations_are_complete(root: Path, definitions: dict[str, Any], language: str) -> None:
    english, translated = texts(definitions), texts(translation(root, language))
    assert translated.keys() == english.keys()
    assert not [path for path, text in translated.items() if text == english[path] or not text]


def test_every_choice_is_explained_in_every_language(root: Path, host: object) -> None:
    assert host is not None
    for key, node in NODE_CLASS_MAPPINGS.items():
        inputs: Inputs = cast(Any, node).INPUT_TYPES()
        for part in inputs.values():
            for name, form in part.items():
                default = form[1].get("default")
                if isinstance(form[0], list) and isinstance(default, str):
                    for language in LANGUAGES:
                        assert default in translation(root, language)[key]["inputs"][name]["tooltip"]


def test_every_node_has_a_help_page_that_names_its_inputs(root: Path, definitions: dict[str, Any]) -> None:
    pages = {file.stem: file.read_text(encoding="utf-8") for file in (root / "web/docs").glob("*.md")}
    assert pages.keys() == definitions.keys()
    for key, page in pages.items():
        assert page.startswith(f"# {definitions[key]['display_name']}\n")
        assert not [name for name in definitions[key]["inputs"] if f"**{name}**" not in page]
