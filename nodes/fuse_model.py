"""Fuse ParagonSR Model."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor

from paragon_arch.api import fuse_verbosely
from paragon_arch.spandrel_support import ParagonModelDescriptor, family_model

from . import host


class FuseModel:
    """Merge the branches that only training needs; the outputs stay the same, which is checked."""

    CATEGORY = "ParagonSR/model"
    DESCRIPTION = (
        "Merges the branches that only training needs into single convolutions: same pictures, less work. Returns a "
        "new model and leaves the one that comes in as it is."
    )
    FUNCTION = "fuse"
    RETURN_TYPES = ("UPSCALE_MODEL", "STRING")
    RETURN_NAMES = ("upscale_model", "info")
    OUTPUT_TOOLTIPS = (
        "The fused model. Save it with Save ParagonSR Model to skip this step next time.",
        "What was done. Connect it to Preview Any to read it.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        return {
            "required": {"upscale_model": ("UPSCALE_MODEL", {"tooltip": "A ParagonSR model; it stays as it is."})},
            "optional": {
                "accept_identity": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "advanced": True,
                        "tooltip": "Off (default): a model whose dynamic kernels were never tracked in training is "
                        "refused. On: such kernels are frozen as they are, which may change the pictures.",
                    },
                )
            },
        }

    def fuse(
        self, upscale_model: ImageModelDescriptor[Any], accept_identity: bool = False
    ) -> tuple[ParagonModelDescriptor, str]:
        """Return (a fused copy, what was done).

        Raises:
            InvalidOptionError: not a model of the family.
            FusionError: kernels were never tracked, or the result failed its check.
        """
        fused, fusion = fuse_verbosely(family_model(upscale_model), accept_identity=accept_identity)
        return host.as_upscale_model(fused), fusion.message
