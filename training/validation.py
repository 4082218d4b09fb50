"""Scores of a network on a folder of pictures while it trains, and sample pictures to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image

from paragon_arch.networks.base import SRNetwork
from paragon_engine.metrics import psnr_y, ssim_y

from .config import ValidationConfig
from .data.pairs import downscale, to_pixels, to_tensor
from .data.pictures import Pixels, list_images, read_image, resize

GAP = 4
"""Pixels between the parts of a sample picture."""


@dataclass(frozen=True)
class Validation:
    """Means over the pictures."""

    psnr: float
    """PSNR of luma in dB, ``scale`` border pixels left out."""
    ssim: float
    over_bicubic: float
    """PSNR above that of bicubic enlargement, in dB."""


def validate(
    network: SRNetwork, config: ValidationConfig, *, device: torch.device, samples: Path | None = None
) -> Validation:
    """Score a network on the pictures of ``config.folder``, each reduced by bicubic first.

    Args:
        network: in eval mode.
        config: its folder must be set.
        device: where to compute.
        samples: folder for sample pictures.

    Raises:
        ImageError: a picture cannot be read, or there is none.
    """
    assert config.folder is not None
    network = network.to(device)
    rows: list[tuple[float, float, float]] = []
    for index, path in enumerate(list_images(Path(config.folder))[: config.limit]):
        reference = _reference(read_image(path), config.crop, network.scale)
        low = downscale(reference, network.scale)
        result = _enlarge(network, low, device)
        bicubic = resize(low, reference.shape[:2], Image.Resampling.BICUBIC)  # pyright: ignore[reportArgumentType]
        rows.append(_score(result, bicubic, reference, network.scale))
        if samples is not None and index < config.samples:
            samples.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_side_by_side(bicubic, result, reference)).save(samples / f"{path.stem}.png")
    psnr, ssim, bicubic_psnr = (fmean(column) for column in zip(*rows, strict=True))
    return Validation(psnr, ssim, psnr - bicubic_psnr)


def _score(result: Pixels, bicubic: Pixels, reference: Pixels, scale: int) -> tuple[float, float, float]:
    psnr, plain = (psnr_y(image, reference, border=scale) for image in (result, bicubic))
    return psnr, ssim_y(result, reference, border=scale), plain


def _reference(image: Pixels, crop: int | None, scale: int) -> Pixels:
    """The middle of a picture, cut to a multiple of the scale."""
    height, width = (min(side, crop or side) // scale * scale for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


@torch.inference_mode()
def _enlarge(network: SRNetwork, low: Pixels, device: torch.device) -> Pixels:
    return to_pixels(network(to_tensor(low[None]).to(device)).float().cpu())[0]


def _side_by_side(*images: Pixels) -> Pixels:
    gap = np.full((images[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for image in images for part in (image, gap)]
    return np.concatenate(parts[:-1], axis=1)
