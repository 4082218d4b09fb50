"""Upscaling ComfyUI's batches, one picture after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from paragon_arch.errors import InvalidOptionError
from paragon_engine import Upscaler
from paragon_engine.colour_match import Match
from paragon_engine.finite import cleaned
from paragon_engine.pictures import Picture, Pixels
from paragon_engine.progress import Progress
from paragon_engine.upscale import UpscaleSettings, upscale_picture

from . import host
from .colours import matched
from .progress import NodeProgress, Preview
from .working import interruptible

MaskUse = Literal["transparency", "selection"]


def upscale_batch(
    upscaler: Upscaler,
    image: Tensor,
    mask: Tensor | None,
    settings: UpscaleSettings,
    *,
    mask_is: MaskUse = "transparency",
    match: Match = "off",
    progress: NodeProgress,
) -> tuple[Tensor, Tensor]:
    """Upscale a batch of pictures and their masks; only one is in work at a time.

    Args:
        upscaler: the model.
        image: ``(N, H, W, C)`` in 0..1, C is 1, 3, or 4 with transparency last.
        mask: ``(N, H, W)``, ``(1, H, W)`` or ``(H, W)`` in 0..1, 1 is transparent; None for the alpha of `image`.
        settings: for each picture.
        mask_is: "transparency" fills hidden colours from their surroundings, "selection" leaves the picture alone.
        match: how colours are taken back to the input's.
        progress: advanced by tiles.

    Returns:
        ``(N, H', W', C)`` and ``(N, H', W')`` on the CPU, in the type that ComfyUI wants.

    Raises:
        NonFiniteError: the model is damaged; the message has the picture's number.
        InvalidOptionError: the mask does not belong to the pictures.
    """
    count, height, width, channels = image.shape
    scale = upscaler.scale
    out_width, out_height = settings.output_size((width, height), scale)
    out = torch.empty((count, out_height, out_width, channels), dtype=host.intermediate_dtype())
    out_mask = torch.zeros((count, out_height, out_width), dtype=out.dtype)
    progress.start(count)
    preview = Preview(progress, (width * scale, height * scale))
    with interruptible():
        for index, (name, picture) in enumerate(_pictures(image, _fitting(mask, image))):
            part = progress.part()
            preview.start(picture)
            if mask_is == "selection" and picture.alpha is not None:
                result = _separately(upscaler, picture, settings, part, preview, name)
            else:
                result = upscale_picture(upscaler, picture, settings, progress=part, on_part=preview.add, name=name)
            result = matched(result, picture, match, transparent=mask_is == "transparency")
            _store(result, out[index], out_mask[index])
            preview.finish(out[index], last=index + 1 == count)
    return out, out_mask


def _separately(
    upscaler: Upscaler, picture: Picture, settings: UpscaleSettings, progress: Progress, preview: Preview, name: str
) -> Picture:
    """Picture and mask, neither of which has an influence on the other."""
    assert picture.alpha is not None
    progress.start(2)
    colours, mask = replace(picture, alpha=None), Picture(picture.alpha[..., None])
    done = upscale_picture(upscaler, colours, settings, progress=progress.part(), on_part=preview.add, name=name)
    mask = upscale_picture(upscaler, mask, settings, progress=progress.part(), name=f"mask of {name}")
    return replace(done, alpha=mask.pixels[..., 0])


def _pictures(image: Tensor, mask: Tensor | None) -> Iterator[tuple[str, Picture]]:
    """The pictures with their masks, and what messages call them."""
    for index, item in enumerate(image):
        name = f"picture {index + 1} of {len(image)}"
        pixels = _array(item, name)
        if mask is not None:
            cover = mask[index if len(mask) > 1 else 0].clamp(0, 1).numpy()
            yield name, Picture(pixels[..., :3], 1 - cover)
        elif pixels.shape[2] == 4:
            yield name, Picture(pixels[..., :3], pixels[..., 3])
        else:
            yield name, Picture(pixels)


def _array(x: Tensor, name: str) -> Pixels:
    return cleaned(x.detach().cpu().float(), name).clamp(0, 1).numpy()


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
    mask = mask.detach().cpu().float().reshape(-1, *mask.shape[-2:])
    mask = torch.stack([cleaned(item, f"mask {index + 1} of {len(mask)}") for index, item in enumerate(mask)])
    if mask.shape[-2:] != image.shape[1:3]:
        if not bool(mask.any()):
            return None
        mask = F.interpolate(mask[:, None], image.shape[1:3], mode="bilinear", antialias=True)[:, 0]
    if len(mask) not in (1, len(image)):
        raise InvalidOptionError(f"{len(mask)} masks for {len(image)} pictures: give one, or one for each")
    return mask
