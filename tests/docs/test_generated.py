"""What the documents show of the code is what the code says."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import torch

import paragon_arch
from benchmarks.run_all import page
from docs.scripts.generate import generated
from docs.scripts.import_graph import LIBRARIES, PROGRAMS, implied
from docs.scripts.layout_tables import empty_network
from docs.scripts.pictures import graphs
from paragon_arch.errors import InvalidOptionError
from paragon_arch.layouts import LAYOUTS, identify
from paragon_engine.benchmark import from_json
from tests.docs.pages import ROOT

PICTURES = graphs()


@pytest.fixture(scope="module")
def files() -> dict[Path, str]:
    return generated()


def test_documents_are_up_to_date(files: dict[Path, str]) -> None:
    stale = [file.name for file, text in files.items() if not file.is_file() or file.read_text("utf-8") != text]
    assert stale == [], "run: python -m docs.scripts.generate"


def drawn(name: str) -> set[tuple[str, str]]:
    """The arrows of a committed picture."""
    groups = ET.parse(ROOT / "docs/images" / name).getroot().iter("{http://www.w3.org/2000/svg}g")
    return {(group.attrib["data-from"], group.attrib["data-to"]) for group in groups}


@pytest.mark.parametrize("name", PICTURES)
def test_every_box_is_explained(name: str) -> None:
    graph, notes, _ = PICTURES[name]
    assert set(notes) == {unit for edge in graph for unit in edge}


def test_arrows_between_packages_are_the_imports() -> None:
    """Found by another way than the picture's: any absolute or relative import that names a top-level package."""
    found: set[tuple[str, str]] = set()
    for package in PROGRAMS + LIBRARIES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                found |= {(package, name.split(".")[0]) for name in names}
    known = {*PROGRAMS, *LIBRARIES}
    assert drawn("architecture.svg") == {(a, b) for a, b in found if b in known and a != b}


@pytest.mark.parametrize("package", LIBRARIES)
def test_arrows_inside_a_package_are_the_imports(package: str) -> None:
    """Relative imports, followed by hand from each file's folder."""
    found: set[tuple[str, str]] = set()
    for file in (ROOT / package).rglob("*.py"):
        place = file.relative_to(ROOT / package).with_suffix("").parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                parent = place[:-1][: len(place) - node.level]
                targets = [(*parent, *(node.module or "").split("."), alias.name) for alias in node.names]
                heads = [next(part for part in target if part) for target in targets]
                own = package if place == ("__init__",) else place[0]
                found |= {(own, head) for head in heads if own != head and _is_unit(package, head)}
    assert drawn(f"architecture-{package.removeprefix('paragon_')}.svg") == found


def _is_unit(package: str, name: str) -> bool:
    return (ROOT / package / name).is_dir() or (ROOT / package / f"{name}.py").is_file()


@pytest.mark.parametrize("name", PICTURES)
def test_imports_have_no_circles(name: str) -> None:
    """Pictures of layers make sense only then."""
    graph = PICTURES[name][0]
    strong = graph - implied(graph)
    assert not any((b, a) in graph for a, b in graph)
    assert strong


def test_detection_table_tells_layouts_apart() -> None:
    """The networks that the table asks are recognised as what it says, by the real order."""
    for layout in LAYOUTS:
        for variant in layout.variants:
            assert identify(empty_network(layout, variant).state_dict()) is layout, (layout.id, variant.name)


def test_layouts_page_names_every_layout() -> None:
    text = (ROOT / "docs/layouts.md").read_text(encoding="utf-8")
    overview = text.partition("## 1 Overview")[2].partition("## 2 ")[0]
    for layout in LAYOUTS:
        short = layout.id.removeprefix("v2-hybrid")
        assert f"`{layout.id}" in overview or f"`{short}" in overview, layout.id


def test_api_page_has_every_public_name() -> None:
    text = (ROOT / "docs/api/paragon_arch.md").read_text(encoding="utf-8")
    shown = {line.split(".")[-1] for line in re.findall(r"^::: (\S+)", text, re.MULTILINE)}
    everything = {name for name in paragon_arch.__all__ if name != "__version__"}
    assert everything - shown <= {"ParagonError", "ParagonWarning"}  # on the page as the module `errors`
    assert "errors" in shown


def test_benchmark_page_is_made_from_its_data() -> None:
    row: dict[str, Any] = {
        "form": "inference",
        "backend": "torch",
        "median": 0.5,
        "fastest": 0.4,
        "runs": 3,
        "prepare": 0.1,
    }
    row |= {"peak": None, "difference": 0.0, "ratio": 1.0, "against_graph": None, "gemm_share": 0.5, "copy_share": None}
    data: dict[str, Any] = {
        "machine": {"processor": "P", "system": "S"},
        "device": "cpu",
        "threads": 1,
        "date": "2026-01-01",
    }
    data |= {"versions": {"torch": torch.__version__}, "ceilings": {"gemm": 1e9, "copy": 1e9}}
    data["cases"] = [{"model": "v2 tiny", "size": 64, "rows": [row], "failed": {"openvino": "is missing"}}]
    document, plot = page(json.dumps(data))
    assert "## v2 tiny, 64 x 64" in document
    assert "500.0" in document
    assert "Not measured: openvino: is missing." in document
    assert "v2 tiny" in plot


@pytest.mark.parametrize("text", ["", "[]", '{"cases": [{}]}', '{"cases": []}'])
def test_other_data_is_no_benchmark(text: str) -> None:
    with pytest.raises(InvalidOptionError, match="not a report"):
        from_json(text)
