"""What the site needs beyond `docs/`: pages that lie elsewhere in the repository, and links that lead there.

A hook of mkdocs (see mkdocs.yml). On a code host, documents link to files outside `docs/`. Pages among them become
pages of the site, workflows and pictures are copied, and links to source code, which is not in the site, become plain
text.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "training/README.md": "training-code.md",
}
"""Single pages outside `docs/`, and where they are in the site. The site's own home stands for the README."""
FOLDERS = {"models": "*.md", "web/docs": "*.md", "example_workflows": "*.*"}
"""Folders outside `docs/` of which such files are in the site, in a folder of the same last name."""
SECTIONS = {"Help pages of the nodes": "nodes", "Model cards": "models"}
"""Titles in the navigation for folders of pages, whose titles are their headings."""
TRUST = {"Reliability": "reliability.md", "Security": "security.md", "Licences": "licences.md"}
BENCHMARKS = "benchmarks.md"
NOT_MEASURED = """\
# Benchmarks

This copy has no measurements. Make them with `python -m benchmarks.run_all`: the command writes this page.
"""
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^)\s]+)\)")


def places() -> dict[str, str]:
    """Where in the site each file outside `docs/` is: path in the repository -> path in the site."""
    found = {name: place for name, place in PAGES.items() if (ROOT / name).is_file()}
    for folder, pattern in FOLDERS.items():
        for file in sorted((ROOT / folder).glob(pattern)):
            found[f"{folder}/{file.name}"] = f"{PurePosixPath(folder).name}/{file.name}"
    # web/docs would be `docs/`
    return {name: place.replace("docs/", "nodes/") for name, place in found.items()}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages whose names are not known before to the navigation, and those that need not be there."""
    known = places().values()
    nav = cast("list[Any]", config.nav)
    for title, folder in SECTIONS.items():
        nav.append({title: [place for place in known if place.startswith(f"{folder}/") and place.endswith(".md")]})
    trust = [{title: place} for title, place in TRUST.items() if place in known or (ROOT / "docs" / place).is_file()]
    if trust:
        nav.append({"Trust": trust})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere, and a stand-in for a benchmark that was not run."""
    from mkdocs.structure.files import File

    for name, place in places().items():
        if name != "README.md":
            files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    if files.get_file_from_path(BENCHMARKS) is None:
        files.append(File.generated(config, BENCHMARKS, content=NOT_MEASURED))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where their files are in the site."""
    known = places()
    sources = {place: name for name, place in known.items() if name != "README.md"}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return LINK.sub(lambda match: link(match, source, known), markdown)


def link(match: re.Match[str], source: str, known: dict[str, str]) -> str:
    """One link of a document, for the site.

    Args:
        match: of `LINK`.
        source: the document's path in the repository.
        known: see `places`.
    """
    text, target = match["text"], match["target"]
    path, hash_sign, anchor = target.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return match[0]
    file = normpath(f"{PurePosixPath(source).parent}/{path}")
    place = file.removeprefix("docs/") if file.startswith("docs/") else known.get(file)
    if place is None:
        return text.strip("[]")
    own = source.removeprefix("docs/") if source.startswith("docs/") else known[source]
    return f"{text}({'../' * own.count('/')}{place}{hash_sign}{anchor})"
