"""The training loop: one process, gradients clipped, weights averaged, bad steps skipped, resumable."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError, ParagonError
from paragon_arch.networks.base import SRNetwork

from .config import DataConfig, OptimConfig, Recipe
from .data.pairs import PairSampler, Pixels, list_images, read_image
from .data.synthetic import dead_leaves
from .losses import find_loss
from .network import build

log = logging.getLogger(__name__)

SYNTHETIC_SIDE = 256
"""Side of a synthetic picture in pixels."""
MAX_BAD_STEPS = 20
"""So many non-finite steps in a row end the run."""


def learning_rate(config: OptimConfig, step: int) -> float:
    """Rate of a step counted from 0: linear warm-up, then half a cosine down to ``final_lr``."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))


class Average:
    """Exponential moving average of a network's trained parameters.

    The decay rises to its full value as ``(1 + n) / (10 + n)``, so that early averages are not stuck at the start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: parameter.detach().clone() for name, parameter in trained(network)}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards the network's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in trained(network):
            self.values[name].lerp_(parameter, 1 - decay)


def trained(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters that are not frozen."""
    return ((name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad)


class Trainer:
    """A run of a recipe: network, optimiser, average, and the step they have reached."""

    def __init__(self, recipe: Recipe, sampler: PairSampler) -> None:
        self.recipe, self.sampler = recipe, sampler
        self.network = build(recipe.model, seed=recipe.run.seed).to(memory_format=torch.channels_last)  # pyright: ignore
        self.parameters = dict(trained(self.network))
        self.optimizer = torch.optim.Adam(self.parameters.values(), betas=recipe.optim.betas)
        self.average = Average(self.network, recipe.optim.ema)
        self.loss = find_loss(recipe.optim.loss)
        self.step = 0
        self.skipped = 0
        self.bad_in_a_row = 0

    def advance(self) -> float:
        """Train one step; returns its loss. A non-finite loss or gradient leaves the weights alone.

        Raises:
            ParagonError: too many such steps in a row.
        """
        low, high = self.sampler.batch(self.step)
        self.optimizer.zero_grad()
        loss = self.loss(self.network(low), high)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.optim.clip)
        if torch.isfinite(loss) and torch.isfinite(norm):
            self.bad_in_a_row = 0
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.recipe.optim, self.step)
            self.optimizer.step()
            self.average.update(self.network)
        else:
            self._count_bad_step()
        self.step += 1
        return loss.item()

    def _count_bad_step(self) -> None:
        self.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= MAX_BAD_STEPS:
            raise ParagonError(
                f"training diverged: {MAX_BAD_STEPS} non-finite steps in a row at step {self.step}; "
                "lower optim.lr or optim.clip, and resume from the last checkpoint"
            )

    def averaged_network(self) -> SRNetwork:
        """A new network with the averaged weights, in eval mode: what is exported and measured."""
        network = build(self.recipe.model, seed=self.recipe.run.seed)
        network.load_state_dict({**self.network.state_dict(), **self.average.values})
        return network.eval()

    def save(self, path: Path) -> None:
        """Write everything that a resumed run needs, whole or not at all."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            tensors[f"model.{name}"] = parameter.detach().contiguous()
            tensors[f"average.{name}"] = self.average.values[name].contiguous()
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = value.contiguous()
        counters = {"step": self.step, "skipped": self.skipped, "updates": self.average.updates}
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        save_file(tensors, temporary, {"counters": json.dumps(counters), "recipe": _fingerprint(self.recipe)})
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)

    def resume(self, path: Path) -> None:
        """Continue from a file that `save` wrote.

        Raises:
            InvalidOptionError: it belongs to another recipe.
        """
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
        if metadata["recipe"] != _fingerprint(self.recipe):
            raise InvalidOptionError(f"{path} was written by another recipe; give a new run.out or delete that file")
        counters = json.loads(metadata["counters"])
        self.step, self.skipped, self.average.updates = counters["step"], counters["skipped"], counters["updates"]
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"model.{name}"])
                self.average.values[name].copy_(tensors[f"average.{name}"])
                state = {key: tensors.get(f"adam.{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
                if state["step"] is not None:
                    self.optimizer.state[parameter] = {
                        key: value if key == "step" else torch.empty_like(parameter).copy_(value)
                        for key, value in state.items()
                        if value is not None
                    }


def _fingerprint(recipe: Recipe) -> str:
    """The recipe without what may change between a run and its continuation."""
    content = asdict(recipe)
    content.pop("run")
    return json.dumps({**content, "seed": recipe.run.seed}, sort_keys=True)


def load_pictures(config: DataConfig) -> list[Pixels]:
    """Decode the pictures that a recipe names, and make its synthetic ones.

    Raises:
        ImageError: the folder is empty, or a picture cannot be read.
    """
    paths = [] if config.folder is None else list_images(Path(config.folder))
    synthetic = [dead_leaves(SYNTHETIC_SIDE, seed=seed) for seed in range(config.synthetic)]
    return [*(read_image(path) for path in paths), *synthetic]


def fit(recipe: Recipe) -> Trainer:
    """Run a recipe to its end, continuing where an earlier run of it was stopped.

    Progress goes to the log of this package and to ``log.tsv`` in the run's folder (step, mean loss, learning rate).
    """
    out = Path(recipe.run.out)
    out.mkdir(parents=True, exist_ok=True)
    images = load_pictures(recipe.data)
    sampler = PairSampler(images, recipe.data, scale=recipe.model.scale, seed=recipe.run.seed)
    trainer, state = Trainer(recipe, sampler), out / "state.safetensors"
    if state.exists():
        trainer.resume(state)
        log.info("continuing %s at step %d", state, trainer.step)
    log.info("%d pictures, %d parameters", len(images), sum(p.numel() for p in trainer.network.parameters()))
    _run(trainer, out, state)
    return trainer


def _run(trainer: Trainer, out: Path, state: Path) -> None:
    run, steps = trainer.recipe.run, trainer.recipe.optim.steps
    started, first, losses = time.monotonic(), trainer.step, list[float]()
    while trainer.step < steps:
        losses.append(trainer.advance())
        if trainer.step % run.log_every == 0 or trainer.step == steps:
            rate = (time.monotonic() - started) / (trainer.step - first)
            _report(trainer, out, sum(losses) / len(losses), rate)
            losses.clear()
        if trainer.step % run.save_every == 0 or trainer.step == steps:
            trainer.save(state)


def _report(trainer: Trainer, out: Path, loss: float, seconds_per_step: float) -> None:
    config, step = trainer.recipe.optim, trainer.step
    left = seconds_per_step * (config.steps - step)
    text = "step %d/%d  loss %.5f  %.2f s/step  %.0f min left  %d skipped"
    log.info(text, step, config.steps, loss, seconds_per_step, left / 60, trainer.skipped)
    with (out / "log.tsv").open("a", encoding="utf-8") as file:
        file.write(f"{step}\t{loss:.6f}\t{learning_rate(config, step - 1):.3g}\n")
