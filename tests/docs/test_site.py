"""The site: built as the documentation says, complete, and without anything from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

pytest.importorskip("mkdocs", reason="the site needs the extra docs")
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
"""Elements that load something, and by which attribute. `link` loads too, but for relations that only point."""
POINTING = {"canonical", "prev", "next", "edit", "alternate"}


class Loads(HTMLParser):
    """Everything that a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in LOADED and values.get(LOADED[tag]):
            self.found.append(values[LOADED[tag]] or "")
        if tag == "link" and values.get("rel") not in POINTING:
            self.found.append(values.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    # a proxy that does not exist: a download would fail
    blocked = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https", "all")}
    environment = {**os.environ, **blocked, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    """All but the README, whose place the site's home takes, and the nodes' help in other languages."""
    titles = {re.sub(r"\W+", " ", _title(file)).strip() for file in site.rglob("*.html")}
    for page in PAGES:
        if page.parent.parent == ROOT / "web/docs":
            continue
        heading = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert heading, page
        assert page == ROOT / "README.md" or re.sub(r"\W+", " ", heading[1]).strip() in titles, page


def _title(file: Path) -> str:
    heading = re.search(r"<h1[^>]*>(.*?)(<a class=\"headerlink\"|</h1>)", file.read_text(encoding="utf-8"), re.DOTALL)
    return re.sub(r"<[^>]+>", "", heading[1]).strip() if heading else ""


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        loads = Loads()
        loads.feed(file.read_text(encoding="utf-8"))
        assert loads.found
        for address in loads.found:
            assert not re.match(r"(\w+:)?//", address) or address.startswith("data:"), (file.name, address)
    for file in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", file.read_text(encoding="utf-8")), file.name


def test_what_pages_load_is_there(site: Path) -> None:
    for file in site.rglob("*.html"):
        loads = Loads()
        loads.feed(file.read_text(encoding="utf-8"))
        for address in loads.found:
            path = address.split("?")[0].split("#")[0]
            if path and not path.startswith(("data:", "/")):  # 404.html is served from the root
                assert (file.parent / path).exists(), (file.name, address)


def test_api_pages_show_the_docstrings(site: Path) -> None:
    text = (site / "api/paragon_arch.html").read_text(encoding="utf-8")
    assert 'id="paragon_arch.api.load"' in text
    assert "Load a checkpoint of the family, fused or not, ready for inference." in text


def test_links_to_files_outside_docs_lead_to_pages(site: Path) -> None:
    assert 'href="nodes/ParagonSRUpscaleImage.html"' in (site / "comfyui.html").read_text(encoding="utf-8")
    assert 'href="models/2x-ParagonSR2-Realtime-v1.html"' in (site / "models.html").read_text(encoding="utf-8")
    assert (site / "example_workflows/1 Upscale an image.json").is_file()
