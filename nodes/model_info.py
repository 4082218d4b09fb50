"""ParagonSR Model Info."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor

from . import host
from .describe import describe_model


class ModelInfo:
    """Say what a model is."""

    CATEGORY = "ParagonSR/model"
    DESCRIPTION = "Says what a model is: layout, variant, scale, alpha, fused or not, and where each value came from."
    FUNCTION = "describe"
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("info",)
    OUTPUT_TOOLTIPS = ("Several lines of text. Connect it to Preview Any to read it.",)

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's input, in ComfyUI's form."""
        return {
            "required": {
                "upscale_model": (
                    "UPSCALE_MODEL",
                    {"tooltip": "Any upscale model; of ParagonSR models more is known than of others."},
                )
            }
        }

    def describe(self, upscale_model: ImageModelDescriptor[Any]) -> tuple[str]:
        """Return the text."""
        return (describe_model(upscale_model),)
