"""Quantised ONNX graphs: INT8 and FP8 with measured loss and measured speed (docs/quantization.md)."""

from .fake import (
    FakeQuantConv2d,
    calibrate_fake_quantization,
    freeze_ranges,
    prepare_qat,
    save_qat,
    stored_ranges,
)
from .options import QuantizationOptions
from .report import LayerLoss, QuantizationReport, Speed
from .run import quantize

__all__ = [
    "FakeQuantConv2d",
    "LayerLoss",
    "QuantizationOptions",
    "QuantizationReport",
    "Speed",
    "calibrate_fake_quantization",
    "freeze_ranges",
    "prepare_qat",
    "quantize",
    "save_qat",
    "stored_ranges",
]
