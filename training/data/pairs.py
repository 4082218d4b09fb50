"""Training pairs: patches of high-resolution pictures and what is made of them at low resolution.

Unless a recipe degrades further, one resampler makes every low-resolution picture of this project, in training and in
evaluation alike: Pillow's BICUBIC on 8-bit RGB (Keys kernel a = -0.5, widened by the scale, so it is antialiased;
result rounded to 8 bits).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from paragon_arch.errors import ImageError

from ..config import DataConfig, DegradeConfig
from ..distributed import World
from .degrade import Degradation
from .pictures import Pixels, Store, list_images, partners, resize
from .stress import stress_pair

MIB = 2**20


def downscale(image: Pixels, scale: int) -> Pixels:
    """Reduce by an integer factor; height and width must be multiples of it."""
    height, width = image.shape[:2]
    return resize(image, (height // scale, width // scale), Image.Resampling.BICUBIC)


class PairSampler:
    """Random training batches.

    A batch is a function of the seed and the step alone, and each process of several makes its own part of it: a
    resumed run sees what an uninterrupted one would, and N processes see what one with an N times larger batch would.

    Args:
        store: high-resolution pictures; those smaller than a patch are left out.
        config: how patches are cut.
        scale: reduction factor.
        seed: of all random choices.
        degrade: what happens besides the bicubic reduction.
        low: low-resolution partners of the store, instead of making them.
        world: which part of each batch to make.

    Raises:
        ImageError: no picture is large enough, or two partners' sizes do not fit.
    """

    def __init__(
        self,
        store: Store,
        config: DataConfig,
        *,
        scale: int,
        seed: int,
        degrade: DegradeConfig | None = None,
        low: Store | None = None,
        world: World | None = None,
    ) -> None:
        self.store, self.low, self.config, self.scale, self.seed = store, low, config, scale, seed
        self.world = world or World()
        self.degradation = Degradation(degrade or DegradeConfig())
        self.usable = [i for i, size in enumerate(store.sizes) if min(size) >= config.patch]
        if not self.usable:
            raise ImageError(f"no picture has both sides >= data.patch = {config.patch}")
        if low is not None:
            _check_partners(store, low, scale)
        self.cumulative: npt.NDArray[np.float64] = np.cumsum(self._weights())

    def batch(self, step: int, *, whole: bool = False) -> tuple[Tensor, Tensor]:
        """Low- and high-resolution batch ``(B, 3, h, w)`` and ``(B, 3, scale*h, scale*w)``, float32 in 0..1.

        Args:
            step: of the run.
            whole: the parts of all processes, not only this one's.
        """
        size = self.config.batch
        first, last = (0, size * self.world.size) if whole else (self.world.rank * size, (self.world.rank + 1) * size)
        pairs = [self.pair(step, index) for index in range(first, last)]
        return to_tensor(np.stack([low for low, _ in pairs])), to_tensor(np.stack([high for _, high in pairs]))

    def pair(self, step: int, index: int) -> tuple[Pixels, Pixels]:
        """One low- and high-resolution patch, turned and flipped at random."""
        rng = np.random.default_rng((self.seed, step, index))
        if self.config.stress > 0 and rng.random() < self.config.stress:
            low, high = stress_pair(self.config.patch // self.scale, self.scale, rng)
        elif self.low is not None:
            low, high = self._paired(self.low, rng)
        else:
            low, high = None, self.patch(rng)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        high = _turned(high, turns, flip)
        return (self.degradation(high, self.scale, rng) if low is None else _turned(low, turns, flip)), high

    def patch(self, rng: np.random.Generator) -> Pixels:
        """One high-resolution patch: the liveliest of some places, all reduced by one random factor."""
        low, high = self.config.shrink
        patch, side = self.config.patch, round(self.config.patch / float(rng.uniform(low, high)))
        crop = max((self.crop(side, rng) for _ in range(self.config.candidates)), key=edge_strength)
        crop = np.ascontiguousarray(crop)
        return crop if len(crop) == patch else resize(crop, (patch, patch), Image.Resampling.LANCZOS)

    def _pick(self, rng: np.random.Generator) -> int:
        place = int(cast("np.intp", np.searchsorted(self.cumulative, rng.random() * self.cumulative[-1], side="right")))
        return self.usable[min(place, len(self.usable) - 1)]

    def shares(self) -> npt.NDArray[np.float64]:
        """Sums of the probabilities of the usable pictures up to each of them; the last is 1."""
        return np.divide(self.cumulative, self.cumulative[-1])

    def _weights(self) -> npt.NDArray[np.float64]:
        """How often each usable picture is drawn, relative to the others."""
        sizes = [self.store.sizes[i] for i in self.usable]
        weight = np.array([min(height * width, 4e6) ** 0.5 for height, width in sizes])
        if not self.config.mix:
            return weight
        kinds = np.array([_kind(self.store.sources[i], self.config.folder) for i in self.usable])
        shares = np.zeros_like(weight)
        for kind, share in self.config.mix.items():
            of_kind = kinds == kind
            if not of_kind.any():
                raise ImageError(f"data.mix: {self.config.folder} has no usable picture in a folder {kind!r}")
            shares[of_kind] = share * weight[of_kind] / weight[of_kind].sum()
        return shares

    def crop(self, side: int, rng: np.random.Generator) -> Pixels:
        """A square of a random picture at a random place, of ``side`` pixels or as many as there are."""
        image = self.store[self._pick(rng)]
        height, width = len(image), len(image[0])
        side = min(side, height, width)
        top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
        return image[top : top + side, left : left + side]

    def _paired(self, low: Store, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        candidates: list[tuple[Pixels, Pixels]] = []
        for _ in range(self.config.candidates):
            index, side, scale = self._pick(rng), self.config.patch // self.scale, self.scale
            small, large = low[index], self.store[index]
            top, left = (int(rng.integers(length - side + 1)) for length in (len(small), len(small[0])))
            part = large[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
            candidates.append((small[top : top + side, left : left + side], part))
        return max(candidates, key=lambda pair: edge_strength(pair[1]))


def _check_partners(store: Store, low: Store, scale: int) -> None:
    for source, large, small in zip(store.sources, store.sizes, low.sizes, strict=True):
        if large != (small[0] * scale, small[1] * scale):
            raise ImageError(f"{source}: {large[1]}x{large[0]} is not {scale} times its partner {small[1]}x{small[0]}")


def _kind(source: Path | int, folder: str | None) -> str:
    """The folder below ``folder`` that a picture is in; "" for synthetic ones and those directly in it."""
    parts = () if isinstance(source, int) or folder is None else source.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""


def _turned(image: Pixels, turns: int, flip: bool) -> Pixels:
    image = np.rot90(image, turns)
    return np.ascontiguousarray(image[:, ::-1] if flip else image)


def make_sampler(
    config: DataConfig,
    *,
    scale: int,
    seed: int,
    degrade: DegradeConfig,
    world: World | None = None,
) -> PairSampler:
    """The sampler of a recipe.

    Raises:
        ImageError: a folder is empty, a picture cannot be read, or a partner is missing.
        InvalidOptionError: the degradation needs what is not installed.
    """
    files = [] if config.folder is None else list_images(Path(config.folder))
    memory, low = config.memory * MIB, None
    if config.low_folder is not None and config.folder is not None:
        found = partners(files, Path(config.folder), Path(config.low_folder))
        low = Store(found, memory=memory // 4)
    store = Store([*files, *range(config.synthetic)], memory=memory)
    return PairSampler(store, config, scale=scale, seed=seed, degrade=degrade, low=low, world=world)


class _Steps(Dataset[tuple[Tensor, Tensor]]):
    """Batches by step, for worker processes."""

    def __init__(self, sampler: PairSampler) -> None:
        self.sampler = sampler

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        return self.sampler.batch(step)


def batches(sampler: PairSampler, first: int, last: int, *, pin: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of steps ``first`` to ``last`` - 1, made ahead by ``data.workers`` processes."""
    workers = sampler.config.workers
    steps = range(first, last)
    return iter(DataLoader(_Steps(sampler), batch_size=None, sampler=steps, num_workers=workers, pin_memory=pin))


def edge_strength(image: Pixels) -> float:
    """Mean absolute difference of neighbouring green samples, in 8-bit steps."""
    green = image[..., 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def to_tensor(images: Pixels) -> Tensor:
    """``(N, H, W, 3)`` 8-bit to ``(N, 3, H, W)`` float32 in 0..1, channels last in memory."""
    return torch.tensor(images).permute(0, 3, 1, 2).float().div(255)


def to_pixels(images: Tensor) -> Pixels:
    """``(N, 3, H, W)`` in 0..1, clipped, to ``(N, H, W, 3)`` 8-bit."""
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
