"""Compare Images (ParagonSR)."""

from __future__ import annotations

import math
import secrets
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from paragon_arch.errors import InvalidOptionError
from paragon_engine.metrics import Pixels, psnr_y, ssim_y
from paragon_engine.pictures import to_bytes

from . import host

SMALLEST = 11
"""Pixels along each side that SSIM needs."""


class CompareImages:
    """Two pictures under one slider, and how much they differ in numbers."""

    CATEGORY = "ParagonSR"
    DESCRIPTION = (
        "Shows two pictures under one slider, before on the left and after on the right. Where their sizes are equal, "
        "PSNR and SSIM say how much they differ."
    )
    FUNCTION = "compare"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("scores",)
    OUTPUT_TOOLTIPS = ("PSNR and SSIM of each pair, a line each.",)

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        return {
            "required": {
                "before": ("IMAGE", {"tooltip": "Left of the slider. One picture, or as many as after has."}),
                "after": (
                    "IMAGE",
                    {"tooltip": "Right of the slider. Another size is shown as large as before, without scores."},
                ),
            },
            "optional": {
                "scores": (
                    "BOOLEAN",
                    {
                        "default": True,
                        "tooltip": "On (default): PSNR and SSIM of the luma where sizes are equal. Off: the slider "
                        "alone, which saves seconds with very large pictures.",
                    },
                ),
                "border": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 256,
                        "advanced": True,
                        "tooltip": "Pixels along each side that the scores leave out: 0 (default) counts all; papers "
                        "leave out as many as the scale says.",
                    },
                ),
            },
        }

    def compare(self, before: Tensor, after: Tensor, scores: bool = True, border: int = 0) -> dict[str, Any]:
        """Store the pictures for the browser and return the scores.

        Raises:
            InvalidOptionError: two batches of different length.
        """
        count = max(len(before), len(after))
        if {len(before), len(after)} - {1, count}:
            raise InvalidOptionError(f"{len(before)} pictures cannot be paired with {len(after)}")
        run, lines = secrets.token_hex(8), list[str]()
        files: dict[str, list[dict[str, str]]] = {"paragonsr_before": [], "paragonsr_after": []}
        for index in range(count):
            host.raise_if_interrupted()
            pair = [_pixels(batch[index if len(batch) > 1 else 0]) for batch in (before, after)]
            for side, pixels in zip(("before", "after"), pair, strict=True):
                files[f"paragonsr_{side}"].append(_store(pixels, f"paragonsr_{run}_{index:04}_{side}.png"))
            lines.append(_score(*pair, border=border) if scores else _sizes(*pair))
        return {"ui": {**files, "paragonsr_scores": lines}, "result": ("\n".join(lines),)}


def _score(before: Pixels, after: Pixels, *, border: int) -> str:
    """PSNR and SSIM in words, or why there are none."""
    if before.shape != after.shape:
        return f"{_sizes(before, after)}: no scores for different sizes"
    if min(before.shape[:2]) - 2 * border < SMALLEST:
        return f"{_sizes(before, after)}: too small for scores"
    psnr = psnr_y(before, after, border=border)
    text = "identical" if math.isinf(psnr) else f"{psnr:.2f} dB"
    return f"PSNR {text}, SSIM {ssim_y(before, after, border=border):.4f}"


def _sizes(before: Pixels, after: Pixels) -> str:
    return " and ".join(f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in (before, after))


def _pixels(image: Tensor) -> Pixels:
    """(H, W, C) in 0..1 as 8-bit RGB."""
    values = to_bytes(image.detach().cpu().float().numpy())
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else np.ascontiguousarray(values[..., :3])


def _store(pixels: Pixels, name: str) -> dict[str, str]:
    """Write a picture where the browser may fetch it, and say how to ask for it."""
    Image.fromarray(pixels).save(host.temporary_folder() / name, compress_level=1)
    return {"filename": name, "subfolder": "", "type": "temp"}
