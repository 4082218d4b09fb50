"""Upscale Image (ParagonSR)."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor
from torch import Tensor

from paragon_engine.colour_match import Match

from . import host
from .batch import MaskUse, upscale_batch
from .colours import match_widget
from .progress import NodeProgress
from .sizes import Size, limit_widget, resize_widget, size_widgets
from .upscaling import FollowsPrecisionSetting, model_input, speed_widgets, tiles
from .working import Choice, ready


class UpscaleImage(FollowsPrecisionSetting):
    """Upscale pictures with any upscale model, in tiles where memory is short."""

    CATEGORY = "ParagonSR"
    DESCRIPTION = (
        "Makes pictures larger and sharper with an upscale model: to the model's scale, a factor, a size in pixels or "
        "that of a screen; in tiles where memory is short; with or without transparency."
    )
    FUNCTION = "upscale"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "mask")
    OUTPUT_TOOLTIPS = (
        "The upscaled pictures.",
        "The upscaled mask; empty where none came in. Join Image with Alpha makes a transparent picture of both.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        optional = {**size_widgets(), **speed_widgets(), **_mask_widgets(), **match_widget(), **limit_widget()}
        return {"required": {**_inputs(), **resize_widget()}, "optional": optional}

    def upscale(
        self,
        upscale_model: ImageModelDescriptor[Any],
        image: Tensor,
        resize: str,
        tile: str = "auto",
        precision: Choice = "auto",
        mask: Tensor | None = None,
        mask_is: MaskUse = "transparency",
        colour_match: Match = "off",
        **size: Any,
    ) -> tuple[Tensor, Tensor]:
        """Return (pictures, masks); the model that came in stays as and where it is. ``size`` are the fields of `Size`.

        Raises:
            InvalidOptionError: a value makes no sense for this model or picture.
            NonFiniteError: the model is damaged; the message has the picture's number.
            MemoryError: not even the smallest tile fits.
        """
        sized = Size(resize, **size).applied(tiles(tile), (image.shape[2], image.shape[1]), upscale_model.scale)
        try:
            with ready(upscale_model, image, sized.tile, precision) as upscaler:
                return upscale_batch(
                    upscaler, image, mask, sized, mask_is=mask_is, match=colour_match, progress=NodeProgress()
                )
        finally:
            host.release_memory()


def _inputs() -> dict[str, tuple[Any, ...]]:
    return {
        **model_input(),
        "image": ("IMAGE", {"tooltip": "One picture or a batch, which is worked through one by one."}),
    }


def _mask_widgets() -> dict[str, tuple[Any, ...]]:
    return {
        "mask": (
            "MASK",
            {
                "tooltip": "Upscaled along with the picture; one of another size is resized to it first. From Load "
                "Image it is the transparency: 1 is transparent."
            },
        ),
        "mask_is": (
            ["transparency", "selection"],
            {
                "default": "transparency",
                "advanced": True,
                "tooltip": "transparency (default): colours hidden under fully masked pixels are replaced by their "
                "surroundings, against dark fringes. selection: the picture stays as it is.",
            },
        ),
    }
