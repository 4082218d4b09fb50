"""ONNX models."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class OnnxModel:
    """A serialised graph."""

    bytes: bytes
