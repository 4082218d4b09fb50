"""Pictures and models that the server works on, and what it should make of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

import paragon_arch
from paragon_arch.networks.v1 import ParagonSR
from paragon_arch.networks.v2_release import ParagonSR2Release

PACK = "ComfyUI-ParagonSR"
RANDOM = "2x_random_realtime.safetensors"
FUSIBLE = "2x_random_first_generation.safetensors"
NANO = "2xParagonSR2_Nano_Pretrain.safetensors"
SHIPPED = "2x-ParagonSR2-Realtime-v1.safetensors"

Levels = NDArray[np.float64]
"""(H, W, C) in 0..255, fractions included."""


def picture(*, transparent: bool = False) -> NDArray[np.uint8]:
    """Gradients and hard edges, 48 x 36, RGB or RGBA."""
    rows, columns = np.mgrid[0:36, 0:48]
    channels = [rows * 7, columns * 5, (rows // 6 + columns // 6) % 2 * 255]
    if transparent:
        channels.append(np.where(columns < 24, 255, columns))
    return np.stack(channels, axis=-1).astype(np.uint8)


def save_video(path: Path) -> None:
    """`picture`, three times."""
    av: Any = importlib.import_module("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=48, height=36, pix_fmt="yuv420p")
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(), format="rgb24")))
        container.mux(stream.encode(None))


def save_random_model(path: Path) -> None:
    """A 2x release-layout realtime network with seeded weights."""
    torch.manual_seed(0)
    network = ParagonSR2Release(variant="realtime", scale=2, num_feat=16, num_groups=1, num_blocks=3)
    for parameter in network.body.parameters():  # a fresh LayerScale would hide the body
        torch.nn.init.normal_(parameter, std=0.3)
    save_file(network.state_dict(), path)


def save_fusible_model(path: Path) -> None:
    """A small 2x network of the first generation, with its training branches."""
    torch.manual_seed(0)
    save_file(
        ParagonSR(scale=2, num_feat=8, num_groups=1, num_blocks=2, hidden=12, branch=1, band=7).state_dict(), path
    )


def expected(path: Path, pixels: NDArray[np.uint8] | None = None) -> Levels:
    """Our own result for `picture`, or for other ``(H, W, 3)``."""
    model = paragon_arch.load(path)
    image = torch.from_numpy(picture() if pixels is None else pixels).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        result = model(image)[0].clamp(0, 1).permute(1, 2, 0)
    return result.double().numpy() * 255


def saved(path: Path) -> Levels:
    """A picture as the server stored it."""
    return np.asarray(Image.open(path)).astype(np.float64)


def assert_saved(stored: Levels, exact: Levels) -> None:
    """Core's SaveImage cuts fractions of a level off; beyond that, the two agree."""
    lost = exact - stored
    assert lost.min() > -0.02
    assert lost.max() < 1.02
