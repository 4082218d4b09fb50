"""Quantised ONNX graphs: INT8 and FP8 with measured loss and measured speed (docs/quantization.md)."""

from .fake import (
    FakeQuantConv2d,
    calibrate_fake_quantization,
    freeze_ranges,
    prepare_qat,
    save_qat,
    stored_ranges,
)
from .finetune import FineTuning, fine_tune
from .options import QuantizationOptions
from .plot import svg
from .report import LayerLoss, PictureLoss, QuantizationReport, Speed
from .run import quantize
from .text import markdown

__all__ = [
    "FakeQuantConv2d",
    "FineTuning",
    "LayerLoss",
    "PictureLoss",
    "QuantizationOptions",
    "QuantizationReport",
    "Speed",
    "calibrate_fake_quantization",
    "fine_tune",
    "freeze_ranges",
    "markdown",
    "prepare_qat",
    "quantize",
    "save_qat",
    "stored_ranges",
    "svg",
]
