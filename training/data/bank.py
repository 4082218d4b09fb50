"""All pictures as 8-bit values on the training device, and batches cut from them there.

Nothing waits for the device: what decides shapes (the factor by which patches are reduced) is drawn on the host, once
for a batch; everything else is drawn and gathered on the device.
"""

from __future__ import annotations

import logging
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import DegradeConfig
from .degrade_batch import BatchDegradation
from .pairs import PairSampler, to_tensor
from .pictures import Pixels
from .stress import stress_pair

log = logging.getLogger(__name__)

STRESS_POOL = 256
"""Patches of extreme contrast that are drawn beforehand."""
FACTORS = 8
"""Different factors by which patches are reduced, so that only so many shapes occur."""


class BankSampler:
    """Random training batches made on a device.

    As with `PairSampler`, a batch is a function of the seed, the step and the process, but another one.

    Args:
        sampler: its usable pictures, their weights and its settings are taken over.
        degrade: what happens besides the bicubic reduction.
        device: where pictures are kept and batches made.
    """

    def __init__(self, sampler: PairSampler, degrade: DegradeConfig, device: torch.device) -> None:
        self.store, self.config, self.scale, self.seed = sampler.store, sampler.config, sampler.scale, sampler.seed
        self.world, self.device = sampler.world, device
        self.degradation = BatchDegradation(degrade)
        pictures = [self.store[index] for index in sampler.usable]
        sizes = torch.tensor([picture.shape[:2] for picture in pictures])
        side = (int(sizes[:, 0].max()), int(sizes[:, 1].max()))
        bank = torch.zeros(len(pictures), 3, *side, dtype=torch.uint8)
        for slot, picture in zip(bank, pictures, strict=True):
            planes = cast("Pixels", np.transpose(picture, (2, 0, 1)).copy())
            slot[:, : picture.shape[0], : picture.shape[1]] = torch.from_numpy(planes)
        log.info("%d pictures, %.0f MiB on %s", len(bank), bank.nbytes / 2**20, device)
        self.bank, self.sizes = bank.to(device), sizes.to(device)
        self.smallest = int(sizes.min())
        self.cumulative = torch.from_numpy(sampler.shares()).float().to(device)
        self.stress = self._stress_pool() if self.config.stress > 0 else None

    def _stress_pool(self) -> tuple[Tensor, Tensor]:
        side = self.config.patch // self.scale
        pairs = [stress_pair(side, self.scale, np.random.default_rng((self.seed, i))) for i in range(STRESS_POOL)]
        low, high = (to_tensor(np.stack(images)).mul(255).to(self.device) for images in zip(*pairs, strict=True))
        return low, high

    def batch(self, step: int, *, whole: bool = False) -> tuple[Tensor, Tensor]:
        """Low- and high-resolution batch ``(B, 3, h, w)`` and ``(B, 3, scale*h, scale*w)``, float32 in 0..1.

        Args:
            step: of the run.
            whole: as many patches as all processes together take.
        """
        number = self.config.batch * (self.world.size if whole else 1)
        key = int(np.random.SeedSequence((self.seed, step, self.world.rank)).generate_state(1, np.uint64)[0] >> 1)
        host, device = torch.Generator().manual_seed(key), torch.Generator(self.device).manual_seed(key)
        high = self._patches(number, host, device)
        low = self.degradation(high, self.scale, host, device)
        if self.stress is not None:
            chosen = torch.randint(STRESS_POOL, (number,), generator=device, device=self.device)
            extreme = torch.rand(number, 1, 1, 1, generator=device, device=self.device) < self.config.stress
            low, high = (
                torch.where(extreme, pool[chosen], x) for pool, x in zip(self.stress, (low, high), strict=True)
            )
        low, high = (x.div(255).contiguous(memory_format=torch.channels_last) for x in (low, high))
        return low, high

    def _patches(self, number: int, host: torch.Generator, device: torch.Generator) -> Tensor:
        """High-resolution patches, whole numbers in 0..255, turned and flipped at random."""
        low, high = self.config.shrink
        place = float(torch.randint(FACTORS, (), generator=host)) / max(1, FACTORS - 1)
        side = min(round(self.config.patch / (low + (high - low) * place)), self.smallest)
        side = max(side, self.config.patch)
        crops = self._crops(number * self.config.candidates, side, device)
        if self.config.candidates > 1:
            crops = _liveliest(crops, number)
        patch = self.config.patch
        crops = crops.float()
        if side != patch:
            crops = F.interpolate(crops, size=(patch, patch), mode="bicubic", antialias=True, align_corners=False)
            crops = crops.round().clamp(0, 255)
        return crops

    def _crops(self, number: int, side: int, generator: torch.Generator) -> Tensor:
        """``(number, 3, side, side)``, 8 bits."""
        draw = torch.rand(6, number, generator=generator, device=self.device)
        index = torch.searchsorted(self.cumulative, draw[0], right=True).clamp_max(len(self.bank) - 1)
        room = self.sizes[index] - side + 1  # (number, 2)
        corner = (draw[1:3].T * room).long().minimum(room - 1)
        along = torch.arange(side, device=self.device)
        turned = torch.where(draw[3:5].T[:, :, None] < 0.5, along, side - 1 - along)  # (number, 2, side)
        rows, columns = (turned + corner[:, :, None]).unbind(1)
        swap = (draw[5] < 0.5)[:, None, None]
        y, x = rows[:, :, None].expand(-1, -1, side), columns[:, None, :].expand(-1, side, -1)
        y, x = torch.where(swap, y.mT, y), torch.where(swap, x.mT, x)
        return self.bank[index[:, None, None], :, y, x].permute(0, 3, 1, 2)


def _liveliest(crops: Tensor, number: int) -> Tensor:
    """Of each group of candidates the one with the strongest edges in green."""
    green = crops[:, 1].float()
    strength = green.diff(dim=1).abs().mean(dim=(1, 2)) + green.diff(dim=2).abs().mean(dim=(1, 2))
    groups = crops.view(-1, number, *crops.shape[1:])
    best = strength.view(-1, number).argmax(dim=0)
    return groups[best, torch.arange(number, device=crops.device)]
