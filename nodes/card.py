"""The page that the loader's context menu opens (web/js/card.js): a model's card, and what its file says."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from paragon_arch.files.records import printable
from paragon_engine.describe import describe_report

from . import host
from .recognition import recognised
from .texts import text

ROUTE = "/paragonsr/card"
MAX_CARD = 2**20
"""Bytes of a card that are shown."""
PAGE = """<!doctype html><html lang="{language}" dir="auto"><meta charset="utf-8"><title>{title}</title>
<style>:root {{ color-scheme: light dark }} body {{ max-width: 52rem; margin: 2rem auto; padding: 0 1rem;
font: 15px/1.5 sans-serif }} pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 monospace }}</style>
<h1>{title}</h1>{body}</html>"""


def page(query: Mapping[str, str]) -> tuple[int, str]:
    """HTTP status and HTML for ``?model=NAME&language=CODE``, where NAME is one that the loader lists.

    A card is a text file beside the model, of the same name with ``.md``.
    """
    name, language = query.get("model", ""), query.get("language", "en")
    try:
        path = Path(host.model_path(name)) if name in host.model_names() else None
    except FileNotFoundError:  # a link to a file that is gone is listed all the same
        path = None
    if path is None:
        cure = text(language, "card.refresh")
        return 404, _html(text(language, "card.missing"), [f"{name}: {cure}"], language)
    return 200, _html(name, [_report(path), _card(path.with_suffix(".md"), language)], language)


def _report(path: Path) -> str:
    report = recognised(path)
    return report if isinstance(report, str) else "\n".join(describe_report(report))


def _card(path: Path, language: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CARD).decode("utf-8", errors="replace")
    except OSError:
        return text(language, "card.none")


def _html(title: str, parts: list[str], language: str) -> str:
    body = "<hr>".join(f"<pre>{escape(part)}</pre>" for part in parts)
    return printable(PAGE.format(title=escape(title), language=escape(language), body=body))
