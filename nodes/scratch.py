"""Models and pictures of a workflow as files, for functions that take files."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from paragon_engine.pictures import Picture, write_image

from . import host


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="paragonsr_", dir=host.temporary_folder()) as name:
        yield Path(name)


@contextmanager
def ordinary_mode() -> Generator[None]:
    """Outside PyTorch's inference mode, in which ComfyUI runs nodes and which forbids rebuilding a network."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


def write_pictures(images: Tensor, folder: Path) -> list[Path]:
    """An IMAGE batch ``(N, H, W, C)`` as PNG files, in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05}.png" for index in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        host.raise_if_interrupted()
        write_image(Picture(image[..., :3].detach().cpu().float().clamp(0, 1).numpy()), path)
    return paths
