"""What the pack says in the browser beside names and tooltips, in the user's language (web/texts)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXTS, LOCALES = ROOT / "web" / "texts", ROOT / "locales"
FALLBACK = "en"


def text(language: str, key: str) -> str:
    """A text in a language, in English where that is unknown, the key itself where there is none at all."""
    return _texts(language).get(key) or _texts(FALLBACK).get(key, key)


@cache
def _texts(language: str) -> dict[str, str]:
    names = {path.stem: path for path in TEXTS.glob("*.json")}  # a name from outside only ever chooses among these
    return json.loads(names[language].read_text(encoding="utf-8")) if language in names else {}


def search_words() -> dict[str, list[str]]:
    """By node, what people type to find it, in all languages: front ends know one list for all of them."""
    found: dict[str, dict[str, None]] = {}
    for path in sorted(LOCALES.glob("*/search.json"), key=lambda path: (path.parent.name != FALLBACK, path)):
        for node, words in json.loads(path.read_text(encoding="utf-8")).items():
            found.setdefault(node, {}).update(dict.fromkeys(words))
    return {node: list(words) for node, words in found.items()}
