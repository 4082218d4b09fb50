"""The work around a network: what the host does for a 1080p frame or picture at 2x, with a network that costs nothing.

    python -m benchmarks.host

A GPU waits for it. Seconds of CPU time on one thread, the least of several runs, so that other programs hardly count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from paragon_engine import Picture, Upscaler, upscale_picture, upscale_tensor
from paragon_engine.finite import is_finite
from paragon_engine.video import FrameUpscaler

HEIGHT, WIDTH, SCALE = 1080, 1920, 2
RUNS = 5


class Free(nn.Module):
    """Returns a picture that is there already."""

    scale = SCALE

    def __init__(self) -> None:
        super().__init__()
        self.result = torch.rand(1, 3, HEIGHT * SCALE, WIDTH * SCALE)

    def receptive_field(self) -> int:
        """Of nothing."""
        return 0

    def forward(self, x: Tensor) -> Tensor:
        """The picture, of the size that belongs to ``x``."""
        return self.result[..., : x.shape[2] * SCALE, : x.shape[3] * SCALE]


def cpu_time(work: Callable[[], object]) -> float:
    """Milliseconds."""
    found: list[float] = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        found.append(1000 * (time.process_time() - began))
    return min(found)


def main() -> None:
    """Print a table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    frame = torch.rand(1, 3, HEIGHT, WIDTH, generator=generator)
    picture = Picture(np.ascontiguousarray(frame[0].permute(1, 2, 0).numpy()))
    free, upscaler = Free(), Upscaler(device="cpu")
    upscaler = upscaler.variant(free, (3, 3))
    frames = FrameUpscaler(upscaler)
    lines: dict[str, Callable[[], object]] = {
        "a frame of a video": lambda: frames(frame),
        "a picture": lambda: upscale_picture(upscaler, picture),
        "a tensor, in tiles of 512": lambda: upscale_tensor(upscaler, frame, tile=512),
        "of it, the check for NaN": lambda: is_finite(free.result),
    }
    print(f"{WIDTH} x {HEIGHT} at {SCALE}x, one thread, ms of CPU")
    for name, work in lines.items():
        print(f"{name}: {cpu_time(work):.0f}", flush=True)


if __name__ == "__main__":
    main()
