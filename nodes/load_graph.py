"""Load ParagonSR ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paragon_engine.backends.graph_file import GRAPH_BACKENDS, OpenedGraph, open_graph

from . import host
from .describe import SEPARATOR
from .onnx_packages import READING, hints, require_packages

NO_FILES = "no .onnx files in models/onnx"


class LoadGraph:
    """Choose an ONNX file and what runs it."""

    CATEGORY = "ParagonSR/model"
    DESCRIPTION = (
        "Loads an upscale model that was exported to ONNX, by Export ONNX (ParagonSR) or by other programs, and runs "
        "it with ONNX Runtime (CPU, CUDA, TensorRT, DirectML) or OpenVINO."
    )
    FUNCTION = "load"
    RETURN_TYPES = ("UPSCALE_MODEL", "STRING")
    RETURN_NAMES = ("upscale_model", "info")
    OUTPUT_TOOLTIPS = (
        "The model, for any node that upscales with a model, ComfyUI's own included.",
        "What runs the file, and why something else does not. Connect it to Preview Any to read it.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        return {
            "required": {
                "model_name": (
                    host.graph_names() or [NO_FILES],
                    {"tooltip": "A .onnx file in models/onnx with open height and width. After adding one press R."},
                ),
                "provider": (
                    ["auto", *GRAPH_BACKENDS],
                    {
                        "default": "auto",
                        "tooltip": "What computes. auto (default): ONNX Runtime on ComfyUI's GPU where its package "
                        "allows, else on the CPU. onnxruntime-tensorrt is the fastest on NVIDIA cards and builds an "
                        "engine for minutes at first use. Where a choice cannot be used, the CPU runs the file and "
                        "info says so.",
                    },
                ),
            }
        }

    @classmethod
    def IS_CHANGED(cls, model_name: str, **_: object) -> str:  # noqa: N802  (ComfyUI's name)
        """A file that was replaced under its old name is loaded again."""
        return host.stamp(Path(host.graph_path(model_name)))

    def load(self, model_name: str, provider: str) -> tuple[Any, str]:
        """Return (descriptor, text); errors are those of `open_graph` and `require_packages`."""
        require_packages(READING, provider)
        opened = open_graph(host.graph_path(model_name), provider, device=host.device())
        return host.as_upscale_model(opened.model), _described(model_name, opened, hints(provider))


def _described(name: str, opened: OpenedGraph, hints: list[str]) -> str:
    lines = [
        f"{name}: scale {opened.model.scale}, run by {opened.backend}",
        *(f"note: {note}" for note in opened.notes),
        *hints,
        *(f"{key}: {value}" for key, value in sorted(opened.properties.items())),
    ]
    return SEPARATOR.join(lines)
