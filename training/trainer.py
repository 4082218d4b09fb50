"""One training step after another: gradients clipped, weights averaged, bad steps skipped."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from paragon_arch.errors import ParagonError
from paragon_arch.networks.base import SRNetwork

from .config import OptimConfig, Recipe
from .data.pairs import PairSampler
from .losses import find_loss
from .network import build, normalise

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
        if recipe.model.start is None:
            normalise(self.network, sampler.batch(0)[0])
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
