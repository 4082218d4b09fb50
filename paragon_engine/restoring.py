"""How much to restore: the blend of a shipped model and its restoring twin that suits a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

import paragon_arch
from paragon_arch import FamilyModel
from paragon_arch.errors import InvalidOptionError

from .catalog import ShippedModel, shipped_models
from .pictures import Picture
from .pictures.damage import measure, strength
from .progress import log

Restore = float | Literal["auto"]
"""Strength, 0 (only enlarge) to 1 (the restoring model), or "auto": what each picture needs."""
Ready = TypeVar("Ready")


def twins_of(path: Path) -> tuple[ShippedModel, ShippedModel] | None:
    """The pair (clean, restoring) that a file of the catalogue belongs to; None for any other file."""
    models = {model.path.name: model for model in shipped_models()}
    model = models.get(path.name)
    if model is None or not model.twin or hashlib.sha256(path.read_bytes()).hexdigest() != model.sha256:
        return None
    twin = models[model.twin]
    return (twin, model) if model.restores else (model, twin)


def usual(path: Path) -> Restore | None:
    """What to do where nobody says: "auto" for a clean model that has a twin; any other file is used as it is."""
    pair = twins_of(path)
    return "auto" if pair is not None and path.name == pair[0].path.name else None


def pair_of(path: Path) -> tuple[ShippedModel, ShippedModel]:
    """As `twins_of`, where there must be one.

    Raises:
        InvalidOptionError: the model has no twin; the message names those that have one.
    """
    pair = twins_of(path)
    if pair is None:
        known = ", ".join(model.path.stem for model in shipped_models() if model.twin and not model.restores)
        raise InvalidOptionError(
            f"{path.name} has no restoring twin, so how much to restore cannot be chosen; these have: "
            f"{known or 'none'}. Two checkpoints of your own can be blended: paragonsr blend"
        )
    return pair


class Restorer(Generic[Ready]):
    """The blends of a pair, each made ready once.

    Args:
        pair: clean and restoring model.
        ready: makes a model ready to run.
        overrides: arguments of `paragon_arch.load`.
    """

    def __init__(
        self,
        pair: tuple[ShippedModel, ShippedModel],
        ready: Callable[[FamilyModel], Ready],
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self._models = tuple(paragon_arch.open_model(model.verified_path(), **(overrides or {})) for model in pair)
        self._ready = ready
        self._made: dict[float, Ready] = {}
        self.scale = self._models[0].scale

    def at(self, weight: float) -> Ready:
        """The blend that restores so much, 0 to 1.

        Raises:
            InvalidOptionError: the weight is out of range.
        """
        if weight not in self._made:
            clean, restoring = self._models
            self._made[weight] = self._ready(paragon_arch.blend(clean, restoring, weight))
        return self._made[weight]

    def suiting(self, picture: Picture, name: str) -> Ready:
        """The blend that suits a picture; what was found and chosen is said in one line."""
        what, weight = findings_of(picture)
        log.info("%s: %s; restored by %.2f", name, what, weight)
        return self.at(weight)


def suited(model: Ready | Restorer[Ready], picture: Picture, name: str) -> Ready:
    """The model for a picture: itself, or the blend that suits it."""
    if isinstance(model, Restorer):
        return cast("Restorer[Ready]", model).suiting(picture, name)
    return model


def findings_of(picture: Picture) -> tuple[str, float]:
    """What was measured in a picture, in words, and how much to restore it."""
    damage = measure(picture)
    return str(damage), strength(damage)


def findings(picture: Picture) -> str:
    """What was measured in a picture and what follows from it, as a report says it."""
    what, weight = findings_of(picture)
    return f"{what}; restored by {weight:.2f}"
