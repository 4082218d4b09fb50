"""The picture in docs/architecture.md: imports point downwards only. Read from the source, nothing is imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {
    "paragon_arch",
    "paragon_engine",
    "deploy",
    "paragonsr",
    "nodes",
    "paragon_chainner",
    "training",
    "benchmarks",
    "tests",
}
HOSTS = {"comfy", "comfy_api", "folder_paths", "server"}


def imported(file: Path) -> Iterator[str]:
    """Dotted names of all that `file` imports, relative ones made absolute (deploy keeps its folder's name)."""
    package = list(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            climbed = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*climbed, *filter(None, [node.module])])


def top_levels(folder: str) -> set[str]:
    """Top-level names imported anywhere below `folder`."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"no source in {folder}/"
    return {name.split(".")[0] for file in files for name in imported(file)}


def test_networks_know_nothing_but_torch() -> None:
    names = {name for file in (ROOT / "paragon_arch/networks").glob("*.py") for name in imported(file)}
    allowed = {"torch", *sys.stdlib_module_names}
    strangers = {n for n in names if n.split(".")[0] not in allowed and not n.startswith("paragon_arch.networks")}
    assert strangers == set()


def test_layouts_know_no_files_and_no_spandrel() -> None:
    assert not top_levels("paragon_arch/layouts") & {"pathlib", "os", "io", "safetensors", "spandrel"}


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("paragon_arch", (OURS | HOSTS | {"argparse"}) - {"paragon_arch"}),
        ("paragon_engine", (OURS | HOSTS | {"argparse"}) - {"paragon_arch", "paragon_engine"}),
        ("paragon_chainner", (OURS | HOSTS | {"argparse"}) - {"paragon_arch", "paragon_engine", "paragon_chainner"}),
        ("deploy", (OURS | HOSTS) - {"paragon_arch", "paragon_engine", "paragon_chainner", "deploy"}),
        ("nodes", OURS - {"paragon_arch", "paragon_engine", "nodes"}),
    ],
)
def test_imports_point_downwards(folder: str, forbidden: set[str]) -> None:
    assert not top_levels(folder) & forbidden


def test_deploy_names_itself_only_relatively() -> None:
    """It is `deploy` in a checkout and `paragonsr` when installed: any other name fails in one of them."""
    for file in (ROOT / "deploy").rglob("*.py"):
        depth = len(file.relative_to(ROOT).parts) - 1
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level <= depth, f"{file}: climbs out of the package"
            elif isinstance(node, ast.ImportFrom | ast.Import):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                assert not {name.split(".")[0] for name in names} & {"deploy", "paragonsr"}, file
