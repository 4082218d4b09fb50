"""Memory that runs are planned with, against what they take."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from . import adapter
from .adapter import Precision
from .measuring import peak, smooth
from .schedule import Case, Values

PART = "memory"
MODELS = (
    ("v2-release", "realtime", 2),
    ("v2-release", "stream", 2),
    ("v2-release", "photo", 2),
    ("v1-magic", "s", 2),
    ("v2-magic", "nano", 2),
    ("v2-magic", "s", 2),
    ("v2-magic-hr", "nano", 2),
    ("v2-dualpath-v6", "photo", 2),
    ("v2-release", "pro", 2),
)
"""Layout, variant, scale; the most used first."""
TILE = 256
ROOM = 1.25
"""More than the prediction times this is a failure: a run that is planned to fit would not."""


def cases(device: torch.device, *, tiny: bool) -> Iterator[Case]:
    """All of this part."""
    models = MODELS[:1] if tiny else MODELS
    sizes: tuple[tuple[int, int], ...] = ((64, 96),) if tiny else ((512, 512), (1080, 1920))
    for rank, (layout, variant, scale) in enumerate(models):
        for size in sizes:
            for precision in ("fp32",) if tiny else ("fp32", "fp16"):
                for tile in (0, 32 if tiny else TILE):
                    name = f"{layout} {variant} {scale}x, {size[1]} x {size[0]}, {precision}, {tile or 'untiled'}"
                    work = partial(one, (layout, variant, scale), size, precision, tile, device)
                    yield Case(PART, name, work, 1 + (rank > 2) + (size[0] > 512))


def one(
    what: tuple[str, str, int], size: tuple[int, int], precision: Precision, tile: int, device: torch.device
) -> Values:
    """One model at one size."""
    model = adapter.prepared(adapter.described(adapter.official(*what), device), precision)
    x = smooth(*size).to(device)
    planned = adapter.predicted(model, x, tile)
    adapter.upscaled(model, x[..., :64, :64], tile=32 if tile else 0)  # workspaces and kernels that stay
    found: dict[str, Any] = peak(lambda: adapter.upscaled(model, x, tile=tile), device)
    taken = found["allocated"]
    if taken is None or device.type != "cuda":  # the C library of a CPU keeps what it likes
        return {"predicted": planned, **found}
    return {"predicted": planned, **found, "passed": taken <= planned * ROOM + (64 << 20)}
