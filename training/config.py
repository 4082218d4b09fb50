"""A recipe: everything that decides a training run, read from a TOML file."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from paragon_arch.errors import InvalidOptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


@dataclass(frozen=True)
class ModelConfig:
    """Which network to build, and how to start it."""

    variant: str = "realtime"
    """Variant of the release layout: "realtime", "stream" or "photo"."""
    scale: int = 2
    alpha: float = 0.0
    """Strength of the base's pre-filter."""
    window_size: int | None = None
    """Side of the attention windows; photo only."""
    gamma: float = 0.5
    """Initial LayerScale. The layout's own 1e-5 wastes the first thousands of steps of a network this small."""
    detail_gain: float = 1.0
    """Initial gain of the learned detail image."""
    start: str | None = None
    """Checkpoint of the same layout and size to start from, instead of random weights."""


@dataclass(frozen=True)
class DataConfig:
    """Where high-resolution pictures come from, and how patches are cut."""

    folder: str | None = None
    """Folder of pictures, searched recursively; relative to the working directory."""
    synthetic: int = 0
    """Number of synthetic pictures to add."""
    patch: int = 96
    """Side of a high-resolution patch, a multiple of the scale."""
    batch: int = 8
    shrink: tuple[float, float] = (0.35, 1.0)
    """Each patch is reduced by a factor drawn from this range first: hides JPEG artefacts, varies sharpness."""
    candidates: int = 3
    """Places drawn for each patch; the one with the strongest edges is taken."""


@dataclass(frozen=True)
class OptimConfig:
    """Adam with linear warm-up and cosine decay."""

    steps: int
    lr: float = 2e-3
    final_lr: float = 1e-5
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    """Largest global norm of the gradient."""
    ema: float = 0.999
    """Decay of the exponential moving average of the weights; the average is what is exported."""
    loss: str = "charbonnier"


@dataclass(frozen=True)
class RunConfig:
    """Where a run writes, and how often."""

    out: str
    """Folder for checkpoints, the log and the exported model."""
    seed: int = 1
    log_every: int = 50
    save_every: int = 500


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    data: DataConfig
    optim: OptimConfig
    run: RunConfig
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        scale, patch = self.model.scale, self.data.patch
        low, high = self.data.shrink
        _require(self.data.folder is not None or self.data.synthetic > 0, "data.folder", None, "a folder of pictures")
        _require(scale >= 1, "model.scale", scale, "at least 1")
        _require(patch > 0 and patch % scale == 0, "data.patch", patch, f"a positive multiple of the scale {scale}")
        _require(0 < low <= high <= 1, "data.shrink", [low, high], "two numbers, 0 < low <= high <= 1")
        _require(self.data.batch >= 1, "data.batch", self.data.batch, "at least 1")
        _require(self.data.candidates >= 1, "data.candidates", self.data.candidates, "at least 1")
        _require(self.optim.steps >= 1, "optim.steps", self.optim.steps, "at least 1")
        _require(0 <= self.optim.ema < 1, "optim.ema", self.optim.ema, "in 0 <= ema < 1")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        InvalidOptionError: no such file, not TOML, an unknown key, or a value out of range; the message names it.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # wrong UTF-8 and wrong TOML are ValueErrors
        raise InvalidOptionError(f"{path}: not a readable TOML recipe ({error})") from error
    try:
        return parse_recipe(tables)
    except InvalidOptionError as error:
        raise InvalidOptionError(f"{path}: {error}") from error


def parse_recipe(tables: dict[str, Any]) -> Recipe:
    """A recipe from the nested dicts of a TOML document."""
    sections = {"model": ModelConfig, "data": DataConfig, "optim": OptimConfig, "run": RunConfig}
    unknown = set(tables) - set(sections)
    if unknown:
        raise InvalidOptionError(f"unknown section [{min(unknown)}]; known: {', '.join(sections)}")
    parts: dict[str, Any] = {name: _section(kind, name, tables.get(name, {})) for name, kind in sections.items()}
    return Recipe(**parts)


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
        items = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else ()
        return len(items) == len(parts) and all(map(_is_a, items, parts))
    if parts:  # X | None
        return any(_is_a(value, part) for part in parts)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint) and not isinstance(value, bool)


def _require(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise InvalidOptionError(f"{name} = {value} must be {rule}")
