"""Names, tooltips, search words, help pages and what the browser says: complete in every language, true to the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from docs.scripts.help_pages import pages
from nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from nodes.host import Inputs
from nodes.texts import search_words, text

LANGUAGES = ("en", "zh", "zh-TW", "ja", "ko", "de", "fr", "es", "pt-BR", "it", "ru", "tr", "ar", "he", "fa")
"""All that ComfyUI has."""
UPSCALE = ("ParagonSRUpscaleImage", "ParagonSRUpscaleVideo", "ParagonSRUpscaleFrames")


@pytest.fixture
def definitions(host: object) -> dict[str, Any]:
    """What the code says, in the form of a translation."""
    assert host is not None
    return {key: _definition(key, node) for key, node in NODE_CLASS_MAPPINGS.items()}


def _definition(key: str, node: Any) -> dict[str, Any]:
    inputs = {name: form[1]["tooltip"] for part in node.INPUT_TYPES().values() for name, form in part.items()}
    assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    outputs = zip(node.RETURN_NAMES, node.OUTPUT_TOOLTIPS, strict=True)
    return {
        "display_name": NODE_DISPLAY_NAME_MAPPINGS[key],
        "description": node.DESCRIPTION,
        "inputs": {name: {"name": name.replace("_", " "), "tooltip": text} for name, text in inputs.items()},
        "outputs": {str(index): {"name": name.replace("_", " "), "tooltip": text}
                    for index, (name, text) in enumerate(outputs)},
    }  # fmt: skip


def stored(root: Path, language: str, name: str) -> dict[str, Any]:
    return json.loads((root / "locales" / language / f"{name}.json").read_text(encoding="utf-8"))


def texts(tree: Any, path: str = "") -> dict[str, str]:
    """Path and text of every leaf."""
    if isinstance(tree, str):
        return {path: tree}
    return {key: text for name, part in tree.items() for key, text in texts(part, f"{path}/{name}").items()}


def choices() -> dict[str, tuple[str, str, list[str]]]:
    """Node, input and choices of every list whose choices are ours, not the names of files."""
    found: dict[str, tuple[str, str, list[str]]] = {}
    for key, node in NODE_CLASS_MAPPINGS.items():
        inputs: Inputs = cast(Any, node).INPUT_TYPES()
        for part in inputs.values():
            for name, form in part.items():
                if isinstance(form[0], list) and name != "model_name":
                    found[f"{key}.{name}"] = (key, name, form[0])
    return found


def test_every_language_of_comfyui_is_there(root: Path) -> None:
    assert {path.name for path in (root / "locales").iterdir()} == set(LANGUAGES)
    assert {path.stem for path in (root / "web/texts").iterdir()} == set(LANGUAGES)


def test_english_is_what_the_code_says(root: Path, definitions: dict[str, Any]) -> None:
    english, said = texts(stored(root, "en", "nodeDefs")), texts(definitions)
    assert english.keys() == said.keys()
    assert not [path for path, text in english.items() if text != said[path] and not path.endswith("/name")]


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_translations_are_complete(root: Path, definitions: dict[str, Any], language: str) -> None:
    english, translated = texts(definitions), texts(stored(root, language, "nodeDefs"))
    assert translated.keys() == english.keys()
    assert not [path for path, text in translated.items() if not text.strip()]
    same = [path for path, text in translated.items() if text == english[path] and not path.endswith("/name")]
    assert not same
    for name in ("settings", "main"):
        assert texts(stored(root, language, name)).keys() == texts(stored(root, "en", name)).keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_browser_says_is_complete(root: Path, language: str) -> None:
    english = json.loads((root / "web/texts/en.json").read_text(encoding="utf-8"))
    own = json.loads((root / f"web/texts/{language}.json").read_text(encoding="utf-8"))
    assert own.keys() == english.keys()
    assert all(own.values())
    used = "".join(path.read_text(encoding="utf-8") for path in (*(root / "web/js").iterdir(), root / "nodes/card.py"))
    kinds = {key.partition(".")[0] for key in english}
    assert all(f'"{key}"' in used or f"`{key.partition('.')[0]}.$" in used for key in english), kinds
    assert {f"choice.{choice}" for choice in ("auto", "off", "model scale", "wavelet")} <= english.keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_default_of_every_choice_is_explained_in_the_words_that_the_list_shows(
    root: Path, host: object, language: str
) -> None:
    assert host is not None
    said = stored(root, language, "nodeDefs")
    for key, name, values in choices().values():
        form = next(part[name] for part in cast(Any, NODE_CLASS_MAPPINGS[key]).INPUT_TYPES().values() if name in part)
        default = form[1].get("default")
        if default in values:
            label = text(language, f"choice.{default}").removeprefix("choice.")
            assert label in said[key]["inputs"][name]["tooltip"], (key, name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_has_search_words_in_every_language(root: Path, language: str) -> None:
    words = stored(root, language, "search")
    assert words.keys() == NODE_CLASS_MAPPINGS.keys()
    assert all(words.values())


def test_front_ends_get_the_words_of_all_languages() -> None:
    for key, words in search_words().items():
        assert words == cast(Any, NODE_CLASS_MAPPINGS[key]).SEARCH_ALIASES
    found = search_words()["ParagonSRUpscaleImage"]
    assert {"upscaler", "super resolution", "enlarge", "esrgan", "放大", "超解像", "agrandir", "апскейл"} <= set(found)
    assert len(found) == len(set(found))


def test_nodes_are_where_people_look_for_them() -> None:
    categories = {key: cast(Any, node).CATEGORY for key, node in NODE_CLASS_MAPPINGS.items()}
    assert all(category.split("/")[0] == "ParagonSR" for category in categories.values())
    assert categories["ParagonSRUpscaleImage"] == categories["ParagonSRLoadModel"] == "ParagonSR"
    # ESSENTIALS_CATEGORY would make front ends take the nodes for the core's, and look for their help there
    assert not [key for key, node in NODE_CLASS_MAPPINGS.items() if hasattr(node, "ESSENTIALS_CATEGORY")]


def test_tooltips_speak_of_fields_as_they_are_called(definitions: dict[str, Any]) -> None:
    tooltips = [text for path, text in texts(definitions).items() if path.endswith("/tooltip")]
    assert not [text for text in tooltips if "with resize" in text.lower() or "scale of 0" in text]
    for key in UPSCALE:  # what the engine does, and a test of it: factor 4 is two passes of a 2x model
        assert "two nodes in a row" in definitions[key]["inputs"]["factor"]["tooltip"]


def test_help_pages_are_made_of_the_tooltips_in_five_languages(root: Path, definitions: dict[str, Any]) -> None:
    made = pages(root)
    assert {file.relative_to(root / "web/docs").as_posix() for file in made} == {
        place
        for key in definitions
        for place in (f"{key}.md", *(f"{key}/{code}.md" for code in ("zh", "ja", "de", "fr")))
    }
    stale = [file.name for file, page in made.items() if not file.is_file() or file.read_text(encoding="utf-8") != page]
    assert stale == [], "run: python -m docs.scripts.generate"
    for key, definition in definitions.items():
        page = made[root / f"web/docs/{key}.md"]
        assert page.startswith(f"# {definition['display_name']}\n")
        assert all(item["tooltip"] in page for item in definition["inputs"].values())
