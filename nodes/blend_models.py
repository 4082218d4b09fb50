"""Blend ParagonSR Models."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor

import paragon_arch
from paragon_arch.spandrel_support import ParagonModelDescriptor, family_model

from . import host


class BlendModels:
    """The weights between those of two trainings of one network."""

    CATEGORY = "ParagonSR/model"
    DESCRIPTION = (
        "Mixes the weights of two trainings of one network: of a clean and a restoring model, a model that restores as "
        "much as you like. Returns a new model and leaves those that come in as they are."
    )
    FUNCTION = "blend"
    RETURN_TYPES = ("UPSCALE_MODEL", "STRING")
    RETURN_NAMES = ("upscale_model", "info")
    OUTPUT_TOOLTIPS = (
        "The blended model. Save it with Save ParagonSR Model to keep it.",
        "What was done. Connect it to Preview Any to read it.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        return {
            "required": {
                "first_model": ("UPSCALE_MODEL", {"tooltip": "A ParagonSR model; it stays as it is."}),
                "second_model": (
                    "UPSCALE_MODEL",
                    {"tooltip": "Another training of the same network: same layout, sizes, scale and alpha."},
                ),
                "weight": (
                    "FLOAT",
                    {
                        "default": 0.5,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "How much of the second model: 0 is the first alone, 1 the second alone.",
                    },
                ),
            }
        }

    def blend(
        self, first_model: ImageModelDescriptor[Any], second_model: ImageModelDescriptor[Any], weight: float
    ) -> tuple[ParagonModelDescriptor, str]:
        """Return (the blended model, what was done).

        Raises:
            InvalidOptionError, StateMismatchError: the two are not one network; the message names what differs.
        """
        first, second = family_model(first_model), family_model(second_model)
        blended = paragon_arch.blend(first, second, weight)
        info = f"{1 - weight:.2f} of {first.report.name}, {weight:.2f} of {second.report.name}"
        return host.as_upscale_model(blended), info
