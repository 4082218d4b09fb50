"""Our nodes. Their modules import chaiNNer's own, so they can be imported inside it only."""

from __future__ import annotations

from importlib import import_module

NODES = (
    "load_paragonsr_model",
    "upscale_image_paragonsr",
    "fuse_paragonsr_model",
    "calibrate_paragonsr_model",
    "export_onnx_paragonsr",
    "save_paragonsr_model",
    "paragonsr_model_info",
)
"""Modules, one for each node, in the order of the app's list; chaiNNer wants them named after the nodes."""


def add_nodes() -> None:
    """Register the nodes with chaiNNer. Calling it again is harmless."""
    for name in NODES:
        import_module(f".{name}", __name__)
