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
from .data.bank import BankSampler
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

    On a CUDA device a step never waits for the device: steps that are not finite are skipped there and counted there,
    until `settle` asks.
    """

    def __init__(
        self,
        recipe: Recipe,
        sampler: PairSampler | BankSampler,
        device: torch.device = CPU,
        world: World | None = None,
    ) -> None:
        world = world or World()
        self.recipe, self.sampler, self.device, self.world = recipe, sampler, device, world
        self.losses = Losses(recipe.losses, device)
        self.network = build(recipe.model, seed=recipe.run.seed)
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if recipe.optim.amp and not self.network.traits.bfloat16:
            raise InvalidOptionError("optim.amp: this network loses the picture in bfloat16; use alpha 0 or no amp")
        if recipe.model.init == "data" and recipe.model.start is None:
            normalise(self.network, sampler.batch(0, whole=True)[0].cpu())
        self.network.to(device).train()
        if recipe.optim.checkpointing:
            recompute_blocks(self.network)
        self.forward = torch.compile(self.network) if recipe.optim.compile else self.network
        self.parameters = dict(trained(self.network))
        optim = recipe.optim
        waits = device.type != "cuda"
        self.optimizers = Optimizers(self.parameters, lr=optim.lr, betas=optim.betas, muon=optim.muon, fused=not waits)
        self.average = Average(self.network, recipe.optim.ema)
        self.critic = self._critic() if recipe.gan.weight > 0 else None
        self.step = 0
        self.skipped = 0
        self.bad_in_a_row = 0
        self.report: dict[str, Tensor] = {}
        # bad steps in a row and skipped ones, on the device; None where every step waits for its own result
        self.bad = None if waits else torch.zeros(2, dtype=torch.int64, device=device)

    def _critic(self) -> Critic:
        recipe = self.recipe
        return Critic(recipe.gan, self.device, seed=recipe.run.seed, clip=recipe.optim.clip, world=self.world)

    def advance(self, batch: tuple[Tensor, Tensor] | None = None) -> float:
        """`train_step`, waited for; returns the loss.

        Raises:
            ParagonError: too many steps in a row were not finite.
        """
        loss = self.train_step(batch)
        self.settle()
        return float(loss)

    def train_step(self, batch: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Train one step; returns its loss. A non-finite loss or gradient leaves the weights alone.

        Args:
            batch: low- and high-resolution pictures; those of this step unless given.
        """
        kept = [buffer.clone() for buffer in self.network.buffers()]
        low, high = (x.to(self.device, non_blocking=True) for x in batch or self.sampler.batch(self.step))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.optim.amp):
            output = self.forward(low)
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
        if self.bad is None:
            self.settle()
        self.report = {name: value.detach() for name, value in terms.items()}
        return loss.detach()

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
        good = torch.isfinite(loss) & torch.isfinite(norm)
        rate = relative_rate(self.recipe.optim, self.step)
        if self.bad is None:
            self._count(0 if good else self.bad_in_a_row + 1, self.skipped + int(not good))
            if good:
                self.optimizers.step(rate)
        else:
            self.optimizers.step(rate, skip=~good)
            in_a_row, skipped = self.bad.unbind()
            self.bad = torch.stack((torch.where(good, 0, in_a_row + 1), skipped + ~good))
        for buffer, value in zip(self.network.buffers(), kept, strict=True):
            buffer.copy_(torch.where(good, buffer, value))
        if self.bad is not None or good:
            average_over_processes([b for b in self.network.buffers() if b.is_floating_point()], self.world)
            self.average.update(self.network)

    def settle(self) -> None:
        """Learn from the device how many steps it skipped.

        Raises:
            ParagonError: too many in a row.
        """
        if self.bad is not None:
            counts = self.bad.cpu()
            self._count(int(counts[0]), int(counts[1]))
        if self.bad_in_a_row >= MAX_BAD_STEPS:
            raise ParagonError(
                f"training diverged: {MAX_BAD_STEPS} non-finite steps in a row at step {self.step}; "
                "lower optim.lr or optim.clip, and resume from the last checkpoint"
            )

    def _count(self, in_a_row: int, skipped: int) -> None:
        self.bad_in_a_row, self.skipped = in_a_row, skipped

    def averaged_network(self) -> SRNetwork:
        """A new network on the CPU with the averaged weights, in eval mode: what is exported and measured."""
        network = build(replace(self.recipe.model, start=None, init="default"), seed=self.recipe.run.seed)
        self.average.into(network, self.network)
        return network.eval()
