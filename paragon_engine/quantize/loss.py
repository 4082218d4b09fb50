"""What a graph loses against the FP32 graph, measured against the ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from ..metrics import WINDOW, psnr_y, ssim_y
from ..packages import require
from .pictures import Batch, Pair, to_image
from .report import PictureLoss

Run = Callable[[Batch], Batch]


def runner(graph: bytes, *, integers: bool = True) -> Run:
    """A graph in ONNX Runtime on the CPU.

    Args:
        graph: serialised.
        integers: let it compute in integers; FP8 needs it off, or ONNX Runtime 1.31 takes FP8 for integers and fails.
    """
    ort = require("onnxruntime", "quantising")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = torch.get_num_threads(), 4
    if not integers:
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
    session: Any = ort.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"input": batch})[0]


@dataclass(frozen=True)
class Score:
    """Quality of one output."""

    psnr: float
    ssim: float


def scores(graph: bytes, pairs: Sequence[Pair], scale: int, *, ssim: bool = True, integers: bool = True) -> list[Score]:
    """PSNR and SSIM of luma against the ground truth, without ``scale`` pixels at the border."""
    run = runner(graph, integers=integers)
    return [_score(to_image(run(pair.low)), pair, scale, ssim) for pair in pairs]


def _score(image: Any, pair: Pair, border: int, ssim: bool) -> Score:
    large = min(pair.high.shape[:2]) - 2 * border >= WINDOW
    similarity = ssim_y(image, pair.high, border=border) if ssim and large else 1.0
    return Score(psnr_y(image, pair.high, border=border), similarity)


def mean_loss(base: Sequence[Score], found: Sequence[Score]) -> float:
    """Mean loss of PSNR in dB."""
    return fmean(a.psnr - b.psnr for a, b in zip(base, found, strict=True))


def by_picture(pairs: Sequence[Pair], base: Sequence[Score], found: Sequence[Score]) -> list[PictureLoss]:
    """Losses one by one."""
    return [
        PictureLoss(pair.name, a.psnr, a.psnr - b.psnr, a.ssim - b.ssim)
        for pair, a, b in zip(pairs, base, found, strict=True)
    ]
