"""Checkpoints of every layout for the real back end, and what they should make of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import paragon_arch
from paragon_arch.dead_leaves import dead_leaves
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.dynamic import TrackedTransformer
from paragon_arch.networks.v2_magic import ParagonSR2Magic
from tests.engine.exact_models import NETWORKS, build

Levels = NDArray[np.int16]

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "2x-ParagonSR2-Realtime-v1.safetensors"
"""A trained model."""


def picture(width: int, height: int, *, transparent: bool = False, seed: int = 0) -> Image.Image:
    """Gradients, hard edges and noise; the transparent one has a soft round window."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 40, (height, width))
    channels = [rows * 3 % 256, columns * 2 % 256, (rows // 6 + columns // 6) % 2 * 160 + noise]
    if transparent:
        distance = np.hypot(rows - height / 2, columns - width / 2) / min(height, width)
        channels.append(np.clip(3 - 8 * distance, 0, 1) * 255)
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def scene(seed: int) -> Image.Image:
    """What is like a photograph to a network."""
    return Image.fromarray(dead_leaves(96, seed)[0].permute(1, 2, 0).mul(255).round().byte().numpy())


def scenes(folder: Path) -> Path:
    """Four pictures to calibrate on; returns their folder."""
    folder.mkdir()
    for seed in range(4):
        scene(seed).save(folder / f"{seed}.png")
    return folder


def network(name: str) -> SRNetwork:
    """One of `exact_models.NETWORKS`; dynamic kernels count as tracked, so that it can be fused."""
    if name == "v2-pixelshuffle":  # of that tail, only this kind of block was published
        torch.manual_seed(0)
        result = ParagonSR2Magic(**NETWORKS[name][1], transformer="reparam-mish").eval().requires_grad_(False)
    else:
        result = build(name)
    centre(result)
    for block in result.modules():
        if isinstance(block, TrackedTransformer) and block.mode == "full":
            block.track(block.identity_kernel + torch.rand_like(block.identity_kernel) * 0.2)
    return result


@torch.no_grad()
def centre(network: SRNetwork) -> None:
    """Scale and shift the last convolution, so that random weights give pictures that are not black or white."""
    last: list[nn.Conv2d] = []
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]

    def note(module: nn.Module, *_: object) -> None:
        assert isinstance(module, nn.Conv2d)
        last.append(module)

    handles = [module.register_forward_hook(note) for module in convolutions]
    x = torch.from_numpy(np.array(picture(45, 37))).permute(2, 0, 1)[None].float() / 255
    result: Tensor = network(x)
    for handle in handles:
        handle.remove()
    outside = float(((result <= 0) | (result >= 1)).float().mean())
    if outside > 0.2 and last[-1].bias is not None:
        gain = 0.15 / float(result.std())
        last[-1].weight.mul_(gain)
        last[-1].bias.mul_(gain).add_(0.5 - float(result.mean()) * gain)


def save_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A network as it comes from training and fused, as two files."""
    unfused, fused = folder / f"{name}.safetensors", folder / f"{name}_fused.safetensors"
    if not unfused.exists():
        paragon_arch.save(network(name), unfused)
        paragon_arch.save(paragon_arch.fuse(network(name)), fused)
    return unfused, fused


def levels(path: Path) -> Levels:
    """An 8-bit picture."""
    return np.asarray(Image.open(path)).astype(np.int16)


def expected(model: Path, image: Image.Image, **options: Any) -> Levels:
    """Our own result for a whole picture, in levels."""
    pixels: Tensor = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        result: Tensor = paragon_arch.load(model, **options)(pixels)[0].clamp(0, 1).permute(1, 2, 0)
    return (result * 255).round().numpy().astype(np.int16)


def difference(a: Levels, b: Levels) -> int:
    """Largest difference, in levels."""
    assert a.shape == b.shape
    return int(np.abs(a - b).max())


NAMES = tuple(NETWORKS)
