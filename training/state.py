"""The checkpoint of a run: what is needed to continue it bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError
from paragon_arch.files import safetensors_file
from paragon_arch.files.atomic import atomic_path

from .config import Recipe
from .trainer import Trainer

MOMENTS = ("exp_avg", "exp_avg_sq")


def save(trainer: Trainer, path: Path) -> None:
    """Write a run's state as safetensors, whole or not at all."""
    counters = {"step": trainer.step, "skipped": trainer.skipped, "updates": trainer.average.updates}
    metadata = {"counters": json.dumps(counters), "recipe": fingerprint(trainer.recipe)}
    with atomic_path(path, overwrite=True) as temporary, temporary.open("wb") as stream:
        safetensors_file.write(stream, dict(_tensors(trainer)), metadata)


def _tensors(trainer: Trainer) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in trainer.parameters.items():
        yield f"model.{name}", parameter.detach().contiguous()
        yield f"average.{name}", trainer.average.values[name].contiguous()
        for key, value in trainer.optimizer.state.get(parameter, {}).items():
            yield f"adam.{key}.{name}", value.contiguous()


def resume(trainer: Trainer, path: Path) -> None:
    """Put a new trainer into the state that `save` wrote.

    Raises:
        InvalidOptionError: the file belongs to another recipe.
        CorruptCheckpointError: it is damaged.
    """
    with path.open("rb") as stream:
        tensors, metadata = safetensors_file.read(stream, path.stat().st_size)
    if metadata.get("recipe") != fingerprint(trainer.recipe):
        raise InvalidOptionError(f"{path} was written by another recipe; give a new run.out or delete that file")
    counters: dict[str, int] = json.loads(metadata["counters"])
    trainer.step, trainer.skipped = counters["step"], counters["skipped"]
    trainer.average.updates = counters["updates"]
    for name, parameter in trainer.parameters.items():
        with torch.no_grad():
            parameter.copy_(tensors[f"model.{name}"])
            trainer.average.values[name].copy_(tensors[f"average.{name}"])
        if f"adam.step.{name}" in tensors:
            # empty_like keeps channels last, on which the order of sums depends
            moments = {key: torch.empty_like(parameter).copy_(tensors[f"adam.{key}.{name}"]) for key in MOMENTS}
            trainer.optimizer.state[parameter] = {"step": tensors[f"adam.step.{name}"], **moments}


def fingerprint(recipe: Recipe) -> str:
    """The recipe without what may change between a run and its continuation."""
    content = asdict(recipe)
    seed = content.pop("run")["seed"]
    return json.dumps({**content, "seed": seed}, sort_keys=True)
