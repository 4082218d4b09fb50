"""Links, anchors and pictures of all documents, without a network."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from benchmarks.run_all import DATA, DOCUMENT, PLOT
from tests.docs.pages import FENCE, PAGES, ROOT

NOT_MEASURED_YET = set[Path]() if (ROOT / DATA).is_file() else {ROOT / DOCUMENT, ROOT / PLOT}
"""What `python -m benchmarks.run_all` writes; a copy without its data has no such page."""
TARGET = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HTML_TARGET = re.compile(r"(?:href|src)=[\"']([^\"']+)[\"']")


def links(page: Path) -> Iterator[str]:
    """All targets of links and pictures of a document."""
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    yield from TARGET.findall(text)
    yield from HTML_TARGET.findall(text)


def anchors(page: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts and mkdocs make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", text, re.MULTILINE):
        words = re.sub(r"[*`]|\]\([^)]*\)|!?\[", "", heading)
        plain = "".join(
            letter for letter in unicodedata.normalize("NFKC", words).lower() if letter in "-_ " or letter.isalnum()
        )
        anchor, number = plain.replace(" ", "-"), 0
        while (name := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        address = urlsplit(target)
        if address.scheme:
            assert address.scheme in ("https", "mailto"), target
            assert address.scheme == "mailto" or re.fullmatch(r"[\w-]+(\.[\w-]+)+", address.netloc), target
            continue
        assert not target.startswith("/"), f"{target}: relative links work everywhere"
        file = (page.parent / unquote(address.path)).resolve() if address.path else page
        if file in NOT_MEASURED_YET:
            continue
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if address.fragment and file.suffix == ".md":
            assert address.fragment in anchors(file), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    front = {ROOT / "README.md"}
    while front:
        seen |= front
        targets = {(page.parent / unquote(urlsplit(link).path)).resolve() for page in front for link in links(page)}
        front = {file for file in targets if file.suffix == ".md" and file.is_file()} - seen
    translations = {page for page in PAGES if page.is_relative_to(ROOT / "web/docs") and page.parent.name != "docs"}
    assert {page.relative_to(ROOT).as_posix() for page in set(PAGES) - seen - translations} == set()


def test_every_picture_is_shown() -> None:
    """A picture that no document shows is forgotten, unless a registry shows it."""
    shown = {(page.parent / urlsplit(link).path).resolve() for page in PAGES for link in links(page)}
    pictures = {file for file in (ROOT / "docs/images").iterdir() if file.suffix in (".png", ".svg", ".jpg")}
    assert {file.name for file in pictures - shown} <= {"icon.png", "banner.png"}


def test_links_are_found() -> None:
    """The checks above see something."""
    found = [link for page in PAGES for link in links(page)]
    assert len(found) > 80
    assert any("#" in link for link in found)
    assert "what-a-file-does-not-say" in anchors(ROOT / "docs/checkpoints.md")
