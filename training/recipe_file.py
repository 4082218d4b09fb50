"""Reading recipes from TOML files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from paragon_arch.errors import InvalidOptionError
from paragon_arch.files.records import read_toml

from .config import (
    DataConfig,
    DegradeConfig,
    GanConfig,
    ModelConfig,
    OptimConfig,
    Recipe,
    RunConfig,
    ValidationConfig,
)

T = TypeVar("T")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file. A first line ``extends = "other.toml"`` takes everything that it does not say from there.

    Raises:
        InvalidOptionError: no such file, not TOML, an unknown key, or a value out of range; the message names it.
    """
    tables = _read_tables(path, ())
    try:
        return parse_recipe(tables)
    except InvalidOptionError as error:
        raise InvalidOptionError(f"{path}: {error}") from error


def ending(recipe: Recipe, steps: int) -> Recipe:
    """The recipe that finishes a run: it branches off the run's state and lets the rate fall to `final_lr`.

    A run at a constant rate can go on for as long as there is time, and be finished at any time (Hu et al. 2024).

    Raises:
        InvalidOptionError: no steps.
    """
    optim = dataclasses.replace(recipe.optim, steps=steps, schedule="linear", warmup=0, ema=min(recipe.optim.ema, 0.99))
    out, run = Path(recipe.run.out), recipe.run
    branch = (out / "state.safetensors").as_posix()
    run = dataclasses.replace(run, out=f"{out.as_posix()}-end", branch=branch, seed=run.seed + 1)
    return dataclasses.replace(recipe, optim=optim, run=run)


def _read_tables(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise InvalidOptionError(f"{path}: extends itself")
    try:
        tables = read_toml(path)
    except InvalidOptionError as error:
        raise InvalidOptionError(f"not a readable TOML recipe: {error}") from error
    base = tables.pop("extends", None)
    if base is None:
        return tables
    if not isinstance(base, str):
        raise InvalidOptionError(f"{path}: extends = {base!r} must be the name of a file")
    return _merged(_read_tables(path.parent / base, (*seen, path.resolve())), tables)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Sections of both; keys of ``own`` win. Losses are not mixed: a recipe names all of its own or none."""
    result = dict(base)
    for name, section in own.items():
        mixed = isinstance(section, dict) and isinstance(base.get(name), dict) and name != "losses"
        result[name] = {**base[name], **section} if mixed else section
    return result


SECTIONS: dict[str, type[Any]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "degrade": DegradeConfig,
    "optim": OptimConfig,
    "gan": GanConfig,
    "validation": ValidationConfig,
    "run": RunConfig,
}
"""Tables of a recipe but [losses], which holds a weight for each name."""


def parse_recipe(tables: dict[str, Any]) -> Recipe:
    """A recipe from the nested dicts of a TOML document."""
    unknown = set(tables) - set(SECTIONS) - {"losses"}
    if unknown:
        raise InvalidOptionError(f"unknown section [{min(unknown)}]; known: {', '.join([*SECTIONS, 'losses'])}")
    for name, section in tables.items():
        if not isinstance(section, dict):
            raise InvalidOptionError(f"{name} = {section!r} must be a section [{name}]")
    parts: dict[str, Any] = {name: _section(kind, name, tables.get(name, {})) for name, kind in SECTIONS.items()}
    losses: dict[str, Any] = tables.get("losses", {"charbonnier": 1.0})
    for name, weight in losses.items():
        if not _is_a(weight, float):
            raise InvalidOptionError(f"losses.{name} = {weight!r} must be a number")
    return Recipe(**parts, losses=losses)


def _section(kind: type[T], name: str, values: dict[str, Any]) -> T:
    known = {f.name: f for f in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    for key in values:
        if key not in known:
            raise InvalidOptionError(f"unknown key {name}.{key}; known: {', '.join(known)}")
    for key, f in known.items():
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and key not in values:
            raise InvalidOptionError(f"{name}.{key} is missing")
    hints = get_type_hints(kind)
    arguments = {
        key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value for key, value in values.items()
    }
    for key, value in arguments.items():
        if not _is_a(value, hints[key]):
            raise InvalidOptionError(f"{name}.{key} = {values[key]!r} must be of type {known[key].type}")
    return kind(**arguments)


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a TOML value, lists made tuples, has the type of a field."""
    parts = get_args(hint)
    if get_origin(hint) is tuple:
        items = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else None
        if items is None:
            return False
        if parts[-1] is Ellipsis:
            return all(_is_a(item, parts[0]) for item in items)
        return len(items) == len(parts) and all(map(_is_a, items, parts))
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(_is_a(item, parts[1]) for item in cast("dict[str, Any]", value).values())
    if parts:  # X | None
        return any(_is_a(value, part) for part in parts)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is bool:
        return isinstance(value, bool)
    return isinstance(value, hint) and not isinstance(value, bool)
