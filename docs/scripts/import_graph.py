"""Who imports whom, read from the source; nothing is imported. The pictures of docs/architecture.md come from it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("nodes", "paragon_chainner", "deploy", "training", "benchmarks")
LIBRARIES = ("paragon_engine", "paragon_arch")

Edges = set[tuple[str, str]]


def imports(file: Path, root: Path = ROOT) -> Iterator[str]:
    """Dotted names of all modules and packages that a file imports, relative ones made absolute."""
    package = file.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            climbed = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*climbed, *filter(None, [node.module])])
            yield from (_module(module, alias.name, root) for alias in node.names)


def _module(module: str, name: str, root: Path) -> str:
    """``from module import name``: the module that is meant, which is ``module.name`` where that is one itself."""
    path = root.joinpath(*module.split("."), name)
    return f"{module}.{name}" if path.is_dir() or path.with_suffix(".py").is_file() else module


def edges(folders: tuple[str, ...], unit: Callable[[str], str | None], root: Path = ROOT) -> Edges:
    """All pairs (importer, imported) of units below some folders.

    Args:
        folders: below the root.
        unit: the box of a picture that a dotted name belongs to, or None if it is not in the picture.
        root: of the repository.
    """
    found: Edges = set()
    for folder in folders:
        for file in sorted((root / folder).rglob("*.py")):
            own = unit(".".join(file.relative_to(root).with_suffix("").parts))
            others = {unit(name) for name in imports(file, root)} - {own, None}
            found |= {(own, other) for other in others if own is not None and other is not None}
    return found


def top(name: str) -> str | None:
    """Unit of the picture of the whole repository: top-level packages."""
    package = name.split(".", 1)[0]
    return package if package in (*PROGRAMS, *LIBRARIES) else None


def inside(package: str) -> Callable[[str], str | None]:
    """Unit function of a picture of one package: its modules and sub-packages; the package itself for its own names."""

    def unit(name: str) -> str | None:
        parts = name.split(".")
        if parts[0] != package:
            return None
        return parts[1] if len(parts) > 1 and parts[1] != "__init__" else package

    return unit


def implied(graph: Edges) -> Edges:
    """Those edges whose ends are connected without them, through others."""
    return {(a, b) for a, b in graph if b in _reachable(a, graph - {(a, b)})}


def _reachable(start: str, graph: Edges) -> set[str]:
    seen: set[str] = set()
    front = {start}
    while front:
        front = {b for a, b in graph if a in front} - seen
        seen |= front
    return seen
