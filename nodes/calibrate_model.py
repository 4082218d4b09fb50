"""Calibrate ParagonSR Model."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor
from torch import Tensor

from paragon_arch.spandrel_support import ParagonModelDescriptor, private_model
from paragon_engine.release.calibrate import Calibration, calibrate

from . import host
from .describe import SEPARATOR
from .progress import NodeProgress
from .scratch import ordinary_mode, scratch_folder, write_pictures
from .working import interruptible


class CalibrateModel:
    """Collect the kernels of a dynamic model from pictures, so that it can be fused."""

    CATEGORY = "ParagonSR/model"
    DESCRIPTION = (
        "Runs pictures through a model with dynamic kernels and keeps their mean, which is what the fused model uses. "
        "Only for layouts with dynamic kernels; returns a new model."
    )
    FUNCTION = "calibrate"
    RETURN_TYPES = ("UPSCALE_MODEL", "STRING")
    RETURN_NAMES = ("upscale_model", "info")
    OUTPUT_TOOLTIPS = (
        "The model with collected kernels. Fuse it next, or save it as it is.",
        "What was collected, and what speaks against trusting it. Connect it to Preview Any to read it.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        return {
            "required": {
                "upscale_model": (
                    "UPSCALE_MODEL",
                    {"tooltip": "A ParagonSR model with dynamic kernels, not fused. It stays as it is."},
                ),
                "images": (
                    "IMAGE",
                    {"tooltip": "Pictures of the kind and size that the model will get; some twenty are enough."},
                ),
                "crops": (
                    "INT",
                    {
                        "default": 256,
                        "min": 1,
                        "max": 4096,
                        "tooltip": "Most pieces of 128 pixels to look at (default 256). More take longer and give a "
                        "steadier mean; below 16 it is too rough.",
                    },
                ),
            }
        }

    def calibrate(
        self, upscale_model: ImageModelDescriptor[Any], images: Tensor, crops: int
    ) -> tuple[ParagonModelDescriptor, str]:
        """Return (a calibrated copy, what was covered).

        Raises:
            InvalidOptionError: not a model of the family, or one without dynamic kernels.
            ImageError: the pictures are too small.
        """
        model = private_model(upscale_model)
        with scratch_folder() as folder, ordinary_mode(), interruptible():
            pictures = write_pictures(images, folder)
            result, report = calibrate(model, pictures, limit=crops, progress=NodeProgress())
        return host.as_upscale_model(result), _described(report)


def _described(report: Calibration) -> str:
    lines = [
        f"{report.tracked} of {report.kernels} kernels collected",
        f"looked at {report.crops} crops of {report.pictures} pictures",
        f"largest change of a kernel: {report.change:.1%}",
        *(f"note: {doubt}" for doubt in report.doubts),
    ]
    return SEPARATOR.join(lines)
