"""From a serialised graph to a model."""

from __future__ import annotations

from .model import OnnxModel


def load_onnx_model(model_or_bytes: bytes) -> OnnxModel:
    return OnnxModel(model_or_bytes)
