"""The critic of adversarial training: MUNet, its optimiser, and one step of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paragon_arch.networks.munet import MUNet, MUNet4Branch

from .average import trained
from .config import GanConfig
from .distributed import World, average_gradients
from .losses.adversarial import critic_loss, generator_loss, gradient_penalty
from .optimizer import Optimizers

CRITICS: dict[str, type[MUNet]] = {"munet-unet": MUNet, "munet-4branch": MUNet4Branch}
"""Both generations; the second one judges every picture by its own spectrum, which the original did not."""


class Critic:
    """A critic in training.

    Args:
        config: of the recipe.
        device: where it runs.
        seed: of its starting values.
        clip: largest global norm of its gradient.
        world: the processes that average gradients.
    """

    def __init__(self, config: GanConfig, device: torch.device, *, seed: int, clip: float, world: World) -> None:
        self.config, self.clip, self.world = config, clip, world
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = CRITICS[config.critic](num_feat=config.num_feat)
        self.network = network.to(device)
        named = dict(trained(self.network))
        self.parameters = list(named.values())
        self.optimizers = Optimizers(named, lr=config.lr, betas=config.betas)

    def generator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Losses of the generator, with their weights; the critic's own parameters get no gradient."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        try:
            with torch.no_grad():
                real_features = self.network.features(real)
            fake_features = self.network.features(fake)
            real_logits, fake_logits = (self.network.out_conv(f[-1]) for f in (real_features, fake_features))
            loss = generator_loss(self.config.loss, real_logits, fake_logits)
            terms = {"adversarial": self.config.weight * loss}
            if self.config.feature_matching > 0:
                pairs = zip(fake_features, real_features, strict=True)
                differences = [(a - b).abs().mean() for a, b in pairs]
                terms["features"] = self.config.feature_matching * torch.stack(differences).mean()
            return terms
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(True)

    def advance(self, real: Tensor, fake: Tensor, *, step: int, rate: float) -> dict[str, Tensor]:
        """One step on real and generated pictures; a non-finite loss or gradient leaves the critic alone.

        Args:
            real, fake: ``(N, 3, H, W)``; the gradient of ``fake`` is not followed.
            step: decides whether gradients are penalised now.
            rate: share of the learning rate.

        Returns:
            critic: the loss without penalties; real, fake: mean logits; r1, r2: the penalties without their weights,
            where they were computed.
        """
        fake = fake.detach()
        real_logits, fake_logits = self.network(real), self.network(fake)
        loss = critic_loss(self.config.loss, real_logits, fake_logits)
        report = {"critic": loss, "real": real_logits.mean(), "fake": fake_logits.mean()}
        if step % self.config.penalty_every == 0:
            report |= self._penalties(real, fake)
            weights = {"r1": self.config.r1, "r2": self.config.r2}
            penalty = sum(weights[name] * report[name] for name in weights if name in report)
            loss = loss + 0.5 * self.config.penalty_every * penalty
        self.optimizers.zero_grad()
        loss.backward()
        self._apply(rate)
        return {name: value.detach() for name, value in report.items()}

    def _penalties(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        wanted = {"r1": (self.config.r1, real), "r2": (self.config.r2, fake)}
        return {name: gradient_penalty(self.network, x) for name, (weight, x) in wanted.items() if weight > 0}

    def _apply(self, rate: float) -> None:
        average_gradients(self.parameters, self.world)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if torch.isfinite(norm):
            self.optimizers.step(rate)
