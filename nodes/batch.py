"""Upscaling ComfyUI's batches, one picture after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from paragon_arch.errors import InvalidOptionError
from paragon_engine.colour_match import Match
from paragon_engine.pictures import Picture
from paragon_engine.progress import Progress
from paragon_engine.upscale import UpscaleSettings

from . import host
from .colours import matched
from .progress import NodeProgress, Preview
from .working import Worker

MaskUse = Literal["transparency", "selection"]


def upscale_batch(
    worker: Worker,
    image: Tensor,
    mask: Tensor | None,
    settings: UpscaleSettings,
    *,
    scale: int,
    mask_is: MaskUse = "transparency",
    match: Match = "off",
    progress: NodeProgress,
) -> tuple[Tensor, Tensor]:
    """Upscale a batch of pictures and their masks; only one is in work at a time.

    Args:
        worker: does the work.
        image: ``(N, H, W, C)`` in 0..1, C is 1, 3, or 4 with transparency last.
        mask: ``(N, H, W)``, ``(1, H, W)`` or ``(H, W)`` in 0..1, 1 is transparent; None for the alpha of `image`.
        settings: for each picture.
        scale: the model's.
        mask_is: "transparency" fills hidden colours from their surroundings, "selection" leaves the picture alone.
        match: how colours are taken back to the input's.
        progress: advanced by tiles.

    Returns:
        ``(N, H', W', C)`` and ``(N, H', W')`` on the CPU, in the type that ComfyUI wants.

    Raises:
        InvalidOptionError: the mask does not belong to the pictures.
    """
    count, height, width, channels = image.shape
    out_width, out_height = settings.output_size((width, height), scale)
    out = torch.empty((count, out_height, out_width, channels), dtype=host.intermediate_dtype())
    out_mask = torch.zeros((count, out_height, out_width), dtype=out.dtype)
    progress.start(count)
    for index, picture in enumerate(_pictures(image, _fitting(mask, image))):
        part, preview = progress.part(), Preview(progress, (width * scale, height * scale), picture)
        if mask_is == "selection" and picture.alpha is not None:
            result = _separately(worker, picture, settings, part, preview)
        else:
            result = worker(picture, settings, part, preview.add)
        result = matched(result, picture, match, transparent=mask_is == "transparency")
        _store(result, out[index], out_mask[index])
        preview.finish(out[index])
    return out, out_mask


def _separately(
    worker: Worker, picture: Picture, settings: UpscaleSettings, progress: Progress, preview: Preview
) -> Picture:
    """Picture and mask, neither of which has an influence on the other."""
    assert picture.alpha is not None
    progress.start(2)
    colours = worker(replace(picture, alpha=None), settings, progress.part(), preview.add)
    mask = worker(Picture(picture.alpha[..., None]), settings, progress.part())
    return replace(colours, alpha=mask.pixels[..., 0])


def _pictures(image: Tensor, mask: Tensor | None) -> Iterator[Picture]:
    for index, item in enumerate(image):
        pixels = item.detach().cpu().float().clamp(0, 1).numpy()
        if mask is not None:
            cover = mask[index if len(mask) > 1 else 0].detach().cpu().float().clamp(0, 1).numpy()
            yield Picture(pixels[..., :3], 1 - cover)
        elif pixels.shape[2] == 4:
            yield Picture(pixels[..., :3], pixels[..., 3])
        else:
            yield Picture(pixels)


def _store(result: Picture, image: Tensor, mask: Tensor) -> None:
    """Write a result into its place in the batch."""
    colours = result.pixels.shape[2]
    image[..., :colours] = torch.from_numpy(result.pixels)
    if image.shape[-1] > colours:
        image[..., colours:] = 1.0
    if result.alpha is not None:
        alpha = torch.from_numpy(result.alpha)
        mask[:] = 1 - alpha
        if image.shape[-1] > colours:
            image[..., colours] = alpha


def _fitting(mask: Tensor | None, image: Tensor) -> Tensor | None:
    """The mask as (N or 1, H, W), resized to the picture; None where nothing is masked.

    Load Image hands on 64 x 64 zeros for a picture without transparency.

    Raises:
        InvalidOptionError: its number is another one.
    """
    if mask is None:
        return None
    mask = mask.reshape(-1, *mask.shape[-2:])
    if mask.shape[-2:] != image.shape[1:3]:
        if not bool(mask.any()):
            return None
        mask = F.interpolate(mask[:, None].float(), image.shape[1:3], mode="bilinear", antialias=True)[:, 0]
    if len(mask) not in (1, len(image)):
        raise InvalidOptionError(f"{len(mask)} masks for {len(image)} pictures: give one, or one for each")
    return mask
