"""A short quantisation-aware training on pictures, for models whose INT8 graph loses too much without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paragon_arch.copying import private_copy
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.magic import MagicResample

from ..backends.forms import fused
from ..progress import Progress
from .fake import calibrate_fake_quantization, freeze_ranges, prepare_qat
from .pictures import Pair, crops


@dataclass(frozen=True)
class FineTuning:
    """How to train."""

    steps: int = 400
    batch: int = 8
    side: int = 48
    """Of a patch, in input pixels."""
    patches: int = 512
    """Patches in memory, spread over the pictures."""
    lr: float = 2e-4
    """Of Adam at the start; it falls to nothing along half a cosine."""
    frozen: float = 0.25
    """Share of the steps at the end in which the ranges stand still."""
    clip: float = 0.1
    """Largest norm of a gradient."""
    seed: int = 0


def fine_tune(
    network: SRNetwork,
    pictures: Sequence[Path],
    settings: FineTuning | None = None,
    *,
    progress: Progress | None = None,
) -> SRNetwork:
    """Train a copy of a network with INT8 arithmetic simulated where its exported graph can have it.

    The loss is the mean absolute difference from the ground truth: the pictures, reduced for the input.

    Args:
        network: of the family; fused on the way if need be.
        pictures: to train on.
        settings: None for the defaults.
        progress: advanced by steps; may cancel.

    Returns:
        A fused network in evaluation mode with fake quantisation, for `save_qat` or `quantize`.

    Raises:
        ImageError: a picture cannot be read.
        InvalidOptionError: no convolution of the network can be trained.
    """
    settings, progress = settings or FineTuning(), progress or Progress()
    twin = private_copy(fused(network)).requires_grad_(True)
    _freeze_filters(twin)
    prepare_qat(twin)
    pairs = crops(
        pictures,
        scale=network.scale,
        channels=int(network.hyperparameters.get("in_channels", 3)),
        side=settings.side,
        count=settings.patches,
    )
    full = [pair for pair in pairs if pair.low.shape[2:] == (settings.side, settings.side)] or pairs[:1]
    calibrate_fake_quantization(twin, [torch.from_numpy(pair.low) for pair in full[:: max(1, len(full) // 16)]])
    _train(twin, full, settings, progress)
    freeze_ranges(twin)
    return twin.eval().requires_grad_(False)


def _freeze_filters(network: nn.Module) -> None:
    """Fixed filters of the upsampler stay what they are."""
    for module in network.modules():
        if isinstance(module, MagicResample):
            module.requires_grad_(False)


def _train(network: SRNetwork, pairs: Sequence[Pair], settings: FineTuning, progress: Progress) -> None:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    progress.start(settings.steps, label="training for INT8")
    network.train()
    for step, (low, high) in enumerate(_batches(pairs, settings)):
        if step >= (1 - settings.frozen) * settings.steps:
            freeze_ranges(network)
        optimizer.zero_grad()
        loss = F.l1_loss(network(low), high)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        schedule.step()
        progress.advance(label=f"training for INT8, loss {loss.item():.4f}")


def _batches(pairs: Sequence[Pair], settings: FineTuning) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(settings.seed)
    channels = pairs[0].low.shape[1]
    for _ in range(settings.steps):
        chosen = [pairs[int(i)] for i in torch.randint(len(pairs), (settings.batch,), generator=generator)]
        low = torch.cat([torch.from_numpy(pair.low) for pair in chosen])
        high = torch.stack([torch.from_numpy(pair.high[..., :channels]).permute(2, 0, 1) for pair in chosen])
        yield low, high.float() / 255
