"""Pictures for people to look at: crops of several results side by side, with a caption each."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from ..metrics import Pixels
from .verify import to_pixels

CAPTION = 18
"""Height of the line of text above each picture."""
GAP = 4


def enlarged(x: Tensor, scale: int) -> Tensor:
    """``(N, C, H, W)`` by bicubic interpolation: what there is without a model."""
    if scale == 1:
        return x
    return F.interpolate(x, scale_factor=float(scale), mode="bicubic", align_corners=False)


def side_by_side(pictures: Mapping[str, Pixels]) -> Pixels:
    """Pictures of one size in a row, each under its caption.

    Args:
        pictures: ``(H, W, 3)`` each, by caption.
    """
    height, width = next(iter(pictures.values())).shape[:2]
    sheet = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height + CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (caption, pixels) in enumerate(pictures.items()):
        left = index * (width + GAP)
        draw.text((left + 2, 3), caption, fill="black")
        sheet.paste(Image.fromarray(pixels), (left, CAPTION))
    return np.asarray(sheet)


def difference(first: Pixels, second: Pixels, *, gain: int = 16) -> Pixels:
    """Absolute difference of two pictures, ``gain`` times as bright; black is equal."""
    raised = np.abs(first.astype(np.int32) - second.astype(np.int32)) * gain
    return np.minimum(raised, 255).astype(np.uint8)


def png(pixels: Pixels) -> bytes:
    """A picture as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def busiest(x: Tensor, side: int) -> tuple[int, int]:
    """Top and left of the part of ``(1, C, H, W)`` with the strongest edges: the one worth looking at."""
    height, width = x.shape[2:]
    side = min(side, height, width)
    gray = x.mean(dim=1, keepdim=True)
    edges = F.pad((gray[..., 1:] - gray[..., :-1]).abs(), (0, 1)) + F.pad(
        (gray[..., 1:, :] - gray[..., :-1, :]).abs(), (0, 0, 0, 1)
    )
    sums = F.avg_pool2d(edges, side, stride=max(1, side // 4))
    best = int(sums.flatten().argmax())
    columns = sums.shape[3]
    step = max(1, side // 4)
    return (best // columns) * step, (best % columns) * step


def crop(pixels: Tensor, top: int, left: int, side: int) -> Pixels:
    """A square of ``(1, 3, H, W)`` in 8 bits."""
    return to_pixels(pixels[:, :, top : top + side, left : left + side])


def sample(truth: Tensor, results: Sequence[tuple[str, Tensor]], side: int) -> Pixels:
    """The busiest square of a picture, in every version of it.

    Args:
        truth: ``(1, 3, H, W)`` that the square is chosen in.
        results: captions and pictures of the same size.
        side: of the square.
    """
    top, left = busiest(truth, side)
    side = min(side, *truth.shape[2:])
    return side_by_side({caption: crop(pixels, top, left, side) for caption, pixels in results})
