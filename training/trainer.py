"""One training step after another: gradients clipped, weights averaged, bad steps skipped."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError, ParagonError
from paragon_arch.networks.base import SRNetwork

from .average import Average, trained
from .config import Recipe
from .critic import Critic
from .data.pairs import PairSampler
from .distributed import World, average_gradients, average_over_processes
from .losses import Losses
from .network import build, normalise, recompute_blocks
from .optimizer import Optimizers
from .schedule import relative_rate

MAX_BAD_STEPS = 20
"""So many non-finite steps in a row end the run."""
CPU = torch.device("cpu")


class Trainer:
    """A run of a recipe: network, critic, optimisers, average, and the step they have reached.

    Args:
        recipe: what to do.
        sampler: makes batches.
        device: where to compute.
        world: the processes that share each batch.
    """

    def __init__(
        self, recipe: Recipe, sampler: PairSampler, device: torch.device = CPU, world: World | None = None
    ) -> None:
        world = world or World()
        self.recipe, self.sampler, self.device, self.world = recipe, sampler, device, world
        self.losses = Losses(recipe.losses, device)
        self.network = build(recipe.model, seed=recipe.run.seed)
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if recipe.optim.amp and not self.network.traits.bfloat16:
            raise InvalidOptionError("optim.amp: this network loses the picture in bfloat16; use alpha 0 or no amp")
        if recipe.model.init == "data" and recipe.model.start is None:
            normalise(self.network, sampler.batch(0, whole=True)[0])
        self.network.to(device).train()
        if recipe.optim.checkpointing:
            recompute_blocks(self.network)
        self.parameters = dict(trained(self.network))
        optim = recipe.optim
        self.optimizers = Optimizers(self.parameters, lr=optim.lr, betas=optim.betas, muon=optim.muon)
        self.average = Average(self.network, recipe.optim.ema)
        self.critic = self._critic() if recipe.gan.weight > 0 else None
        self.step = 0
        self.skipped = 0
        self.bad_in_a_row = 0
        self.report: dict[str, float] = {}

    def _critic(self) -> Critic:
        recipe = self.recipe
        return Critic(recipe.gan, self.device, seed=recipe.run.seed, clip=recipe.optim.clip, world=self.world)

    def advance(self, batch: tuple[Tensor, Tensor] | None = None) -> float:
        """Train one step; returns its loss. A non-finite loss or gradient leaves the weights alone.

        Args:
            batch: low- and high-resolution pictures; those of this step unless given.

        Raises:
            ParagonError: too many such steps in a row.
        """
        kept = [buffer.clone() for buffer in self.network.buffers()]
        low, high = (x.to(self.device, non_blocking=True) for x in batch or self.sampler.batch(self.step))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.optim.amp):
            output = self.network(low)
        output = output.float()
        terms = self._terms(output, high, low)
        loss = torch.stack(list(terms.values())).sum()
        self.optimizers.zero_grad()
        loss.backward()
        self._apply(loss, kept)
        if self.critic is not None:
            rate = relative_rate(self.recipe.optim, self.step)
            if torch.isfinite(output).all() and torch.isfinite(high).all():
                terms |= self.critic.advance(high, output, step=self.step, rate=rate)
        self.step += 1
        self.report = {name: value.item() for name, value in terms.items()}
        return loss.item()

    def _terms(self, output: Tensor, high: Tensor, low: Tensor) -> dict[str, Tensor]:
        terms = self.losses(output, high, low)
        if self.critic is not None and self.step >= self.recipe.gan.start_step:
            terms |= self.critic.generator_terms(high, output)
        return terms

    def _apply(self, loss: Tensor, kept: list[Tensor]) -> None:
        """Take the optimiser's step, or put the buffers back to ``kept``, which a bad batch may have spoilt."""
        parameters = list(self.parameters.values())
        average_gradients(parameters, self.world)
        average_over_processes([loss], self.world)
        norm = nn.utils.clip_grad_norm_(parameters, self.recipe.optim.clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            for buffer, value in zip(self.network.buffers(), kept, strict=True):
                buffer.copy_(value)
            self._count_bad_step()
            return
        self.bad_in_a_row = 0
        self.optimizers.step(relative_rate(self.recipe.optim, self.step))
        average_over_processes([b for b in self.network.buffers() if b.is_floating_point()], self.world)
        self.average.update(self.network)

    def _count_bad_step(self) -> None:
        self.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= MAX_BAD_STEPS:
            raise ParagonError(
                f"training diverged: {MAX_BAD_STEPS} non-finite steps in a row at step {self.step}; "
                "lower optim.lr or optim.clip, and resume from the last checkpoint"
            )

    def averaged_network(self) -> SRNetwork:
        """A new network on the CPU with the averaged weights, in eval mode: what is exported and measured."""
        network = build(replace(self.recipe.model, start=None, init="default"), seed=self.recipe.run.seed)
        self.average.into(network, self.network)
        return network.eval()
