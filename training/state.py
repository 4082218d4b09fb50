"""The checkpoint of a run: what is needed to continue it bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from paragon_arch.errors import CorruptCheckpointError, InvalidOptionError
from paragon_arch.files import safetensors_file
from paragon_arch.files.atomic import atomic_path
from paragon_arch.files.records import json_object

from .average import copy_buffers
from .config import Recipe
from .network import set_tracking_step
from .trainer import Trainer

Parts = Iterator[tuple[str, Tensor]]


def save(trainer: Trainer, path: Path) -> None:
    """Write a run's state as safetensors, whole or not at all."""
    counters = {"step": trainer.step, "skipped": trainer.skipped, "updates": trainer.average.updates}
    metadata = {"counters": json.dumps(counters), "recipe": fingerprint(trainer.recipe)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(trainer)}
    with atomic_path(path, overwrite=True) as temporary, temporary.open("wb") as stream:
        safetensors_file.write(stream, tensors, metadata)


def _tensors(trainer: Trainer) -> Parts:
    yield from _prefixed("model.", {**dict(trainer.network.named_buffers()), **trainer.network.state_dict()})
    yield from _prefixed("average.", trainer.average.values)
    yield from trainer.optimizers.moments()
    if trainer.critic is not None:
        yield from _prefixed("critic.", trainer.critic.network.state_dict())
        yield from _prefixed("critic-", dict(trainer.critic.optimizers.moments()))


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Parts:
    return ((prefix + name, tensor) for name, tensor in tensors.items())


def resume(trainer: Trainer, path: Path) -> None:
    """Put a new trainer into the state that `save` wrote.

    Raises:
        InvalidOptionError: the file belongs to another recipe.
        CorruptCheckpointError: it is damaged.
    """
    tensors, metadata = _read(path)
    if metadata.get("recipe") != fingerprint(trainer.recipe):
        raise InvalidOptionError(f"{path} was written by another recipe; give a new run.out or delete that file")
    counters = _counters(path, metadata)
    trainer.step, trainer.skipped = counters["step"], counters["skipped"]
    if trainer.bad is not None:
        trainer.bad[1] = trainer.skipped
    trainer.average.updates = counters["updates"]
    _take(trainer, tensors)


def branch(trainer: Trainer, path: Path) -> None:
    """Start a new trainer from another run's state: its weights, average, moments and critic, but step 0.

    Raises:
        InvalidOptionError: there is no such file, or its network is another one.
        CorruptCheckpointError: it is damaged.
    """
    if not path.is_file():
        raise InvalidOptionError(f"run.branch = {path}: there is no such state of a run")
    tensors, metadata = _read(path)
    own = trainer.network.state_dict()
    wrong = [name for name, value in own.items() if _shape(tensors.get(f"model.{name}")) != value.shape]
    if wrong:
        raise InvalidOptionError(f"run.branch = {path}: not of the recipe's layout and size ({wrong[0]} differs)")
    trainer.average.updates = _counters(path, metadata)["updates"]
    _take(trainer, tensors)


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tensor.shape


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with path.open("rb") as stream:
        return safetensors_file.read(stream, path.stat().st_size)


def _counters(path: Path, metadata: Mapping[str, str]) -> dict[str, int]:
    try:
        counters = json_object(metadata["counters"])
        return {name: int(counters[name]) for name in ("step", "skipped", "updates")}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpointError(f"{path}: its counters are damaged; delete that file") from error


def _take(trainer: Trainer, tensors: Mapping[str, Tensor]) -> None:
    model, own = _below("model.", tensors), trainer.network.state_dict()
    trainer.network.load_state_dict({name: value for name, value in model.items() if name in own})
    copy_buffers(trainer.network, model)
    set_tracking_step(trainer.network, trainer.step)
    for name, value in trainer.average.values.items():
        value.copy_(tensors[f"average.{name}"])
    trainer.optimizers.restore(tensors)
    if trainer.critic is not None:
        trainer.critic.network.load_state_dict(_below("critic.", tensors))
        trainer.critic.optimizers.restore(_below("critic-", tensors))


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def fingerprint(recipe: Recipe) -> str:
    """What a recipe says other than by default, without what may change between a run and its continuation.

    Defaults are left out so that a key that is new in the code does not make older runs strangers.
    """
    content: dict[str, Any] = {
        f.name: _changed(getattr(recipe, f.name)) for f in fields(recipe) if f.name not in ("losses", "validation")
    }
    seed = recipe.run.seed
    for section, names in (("data", ("workers", "memory")), ("run", tuple(content["run"]))):
        for name in names:
            content[section].pop(name, None)
    return json.dumps({**content, "losses": recipe.losses, "seed": seed}, sort_keys=True)


def _changed(section: Any) -> dict[str, Any]:
    """The fields of a section that differ from their defaults."""
    found: dict[str, Any] = {}
    for f in fields(section):
        default = f.default if f.default_factory is MISSING else f.default_factory()
        value = getattr(section, f.name)
        if value != default:
            found[f.name] = value
    return found
