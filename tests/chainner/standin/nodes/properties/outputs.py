"""Outputs, with chaiNNer's parameters."""

from __future__ import annotations

from api import Item


def ModelOutput(model_type: str = "PyTorchModel", label: str = "Model", kind: str = "generic") -> Item:
    return Item(label, model_type, {"kind": kind})


def OnnxModelOutput(model_type: str = "OnnxModel", label: str = "Model", kind: str = "generic") -> Item:
    return Item(label, model_type, {"kind": kind})


def ImageOutput(label: str = "Image", *, image_type: str = "Image", assume_normalized: bool = False) -> Item:
    return Item(label, image_type, {"normalized": assume_normalized})


def TextOutput(label: str, output_type: str = "string") -> Item:
    return Item(label, output_type, {})


def NumberOutput(label: str, output_type: str = "number") -> Item:
    return Item(label, output_type, {})


def BoolOutput(label: str = "Logical", *, output_type: str = "bool") -> Item:
    return Item(label, output_type, {})


def DirectoryOutput(label: str = "Directory", of_input: int | None = None) -> Item:
    return Item(label, f"Input{of_input}", {})


def FileNameOutput(label: str = "Name", of_input: int | None = None) -> Item:
    return Item(label, f"Input{of_input}", {})
