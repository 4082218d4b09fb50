"""Load ParagonSR Model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import paragon_arch

from . import host
from .describe import badge, describe

AUTOMATIC = 0  # a scale of 0 leaves the decision to the file
AUTOMATIC_ALPHA = -1.0


class LoadModel:
    """Choose a checkpoint of any ParagonSR generation; what it is gets recognised from the file."""

    CATEGORY = "ParagonSR"
    DESCRIPTION = "Loads a ParagonSR or ParagonSR2 checkpoint of any generation as a standard upscale model."
    FUNCTION = "load"
    RETURN_TYPES = ("UPSCALE_MODEL", "STRING")
    RETURN_NAMES = ("upscale_model", "info")
    OUTPUT_TOOLTIPS = (
        "The model, for any node that upscales with a model, core's own included.",
        "What was recognised, and where each value came from. Connect it to Preview Any to read it.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        return {
            "required": {
                "model_name": (
                    host.model_names(),
                    {
                        "tooltip": "A .safetensors, .pth or .ckpt file in models/upscale_models, or a model that came "
                        "with the pack."
                    },
                )
            },
            "optional": {
                "scale": (
                    "INT",
                    {
                        "default": AUTOMATIC,
                        "min": AUTOMATIC,
                        "max": 16,
                        "advanced": True,
                        "tooltip": "Enlargement. 0 (default): as the file says, or as measured. Give it where the file "
                        "does not say; a value that the file contradicts is refused.",
                    },
                ),
                "alpha": (
                    "FLOAT",
                    {
                        "default": AUTOMATIC_ALPHA,
                        "min": AUTOMATIC_ALPHA,
                        "max": 1.0,
                        "step": 0.05,
                        "advanced": True,
                        "tooltip": "Strength of the filter in front of the upsampler, 0 to 1. Below 0 (default -1): as "
                        "the file says, else the layout's default. A model wants the value it was trained with.",
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, model_name: str, **_: object) -> str:  # noqa: N802  (ComfyUI's name)
        """A file that was replaced under its old name is loaded again."""
        return host.stamp(Path(host.model_path(model_name)))

    def load(self, model_name: str, scale: int = AUTOMATIC, alpha: float = AUTOMATIC_ALPHA) -> dict[str, Any]:
        """Load `model_name`: (descriptor, text), and the badge; errors are those of `paragon_arch.load`."""
        descriptor = paragon_arch.load(
            host.model_path(model_name),
            scale=None if scale == AUTOMATIC else scale,
            alpha=None if alpha < 0 else alpha,
        )
        text = describe(descriptor.report)
        return {
            "ui": {"paragonsr_badge": [badge(descriptor.report)], "paragonsr_details": [text]},
            "result": (host.as_upscale_model(descriptor), text),
        }
