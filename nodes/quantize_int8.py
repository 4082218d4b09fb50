"""Quantize INT8 (ParagonSR)."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor
from torch import Tensor

from paragon_arch.files.atomic import make_folder
from paragon_arch.spandrel_support import private_model
from paragon_engine.quantize import QuantizationOptions, QuantizationReport, quantize
from paragon_engine.quantize.text import summary

from . import host
from .contained_path import contained_path
from .describe import SEPARATOR
from .export_onnx import FOLDERS
from .onnx_packages import WRITING, require_packages
from .progress import NodeProgress
from .scratch import ordinary_mode, scratch_folder, write_pictures


class QuantizeInt8:
    """Write a model as an INT8 ONNX file, if it keeps its quality."""

    CATEGORY = "ParagonSR/model"
    DESCRIPTION = (
        "Quantises a ParagonSR model to INT8 with pictures of yours, leaves in higher precision what loses too much, "
        "and measures loss and speed. A file that loses more than the target is not written."
    )
    FUNCTION = "quantize"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("path", "report")
    OUTPUT_TOOLTIPS = (
        "The file; empty where the target was missed.",
        "Loss, share of layers in INT8, speed against FP32 on this machine. Connect it to Preview Any to read it.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        return {"required": {**_inputs(), **_target_widgets()}}

    def quantize(
        self,
        upscale_model: ImageModelDescriptor[Any],
        images: Tensor,
        file_name: str,
        folder: str,
        overwrite: bool,
        method: str,
        loss_db: float,
        measure_speed: bool,
    ) -> tuple[str, str]:
        """Write the file if it passes; return its path and the report.

        Raises:
            InvalidOptionError: not a model of the family, a name that leads out of the folder, a package is missing.
            ImageError: fewer than two pictures, or too small ones.
            OutputExistsError: the file exists and `overwrite` is off.
            OutputError: the model cannot be exported.
        """
        require_packages(WRITING)
        model = private_model(upscale_model)
        path = contained_path(FOLDERS[folder](), file_name, suffix=".onnx")
        make_folder(path.parent)
        choices: dict[str, Any] = {"method": method, "target_db": loss_db, "benchmark": measure_speed}
        with scratch_folder() as scratch, ordinary_mode():
            report = quantize(
                model,
                write_pictures(images, scratch),
                path,
                options=QuantizationOptions(overwrite=overwrite, **choices),
                progress=NodeProgress(),
            )
        return ("" if report.written is None else str(path)), _described(report)


def _described(report: QuantizationReport) -> str:
    return SEPARATOR.join(summary(report))


def _inputs() -> dict[str, tuple[Any, ...]]:
    return {
        "upscale_model": ("UPSCALE_MODEL", {"tooltip": "A ParagonSR model; it stays as it is."}),
        "images": (
            "IMAGE",
            {
                "tooltip": "Sharp pictures to calibrate on, two or more; some thirty are better. Every fourth is kept "
                "for measuring the loss."
            },
        ),
        "file_name": (
            "STRING",
            {
                "default": "paragonsr_model_int8",
                "tooltip": "Name of the file; its ending is added. A sub-folder may stand in front (mine/model). "
                "Paths that lead out of the folder are refused.",
            },
        ),
        "folder": (
            list(FOLDERS),
            {
                "default": "models/onnx",
                "tooltip": "models/onnx (default): loaders find it after a refresh (R). output: "
                "ComfyUI's output folder, for passing it on.",
            },
        ),
        "overwrite": (
            "BOOLEAN",
            {
                "default": False,
                "tooltip": "Off (default): a file of this name is an error and stays as it is. On: it is replaced.",
            },
        ),
    }


def _target_widgets() -> dict[str, tuple[Any, ...]]:
    return {
        "method": (
            ["minmax", "entropy", "percentile"],
            {
                "default": "minmax",
                "advanced": True,
                "tooltip": "How the ranges of values follow from the pictures. minmax (default): all that occurred. "
                "entropy and percentile leave outliers out, which helps models that have some.",
            },
        ),
        "loss_db": (
            "FLOAT",
            {
                "default": 0.25,
                "min": 0.01,
                "max": 3.0,
                "step": 0.01,
                "tooltip": "Largest loss of PSNR in dB (default 0.25). A smaller one keeps more layers in higher "
                "precision, which costs speed.",
            },
        ),
        "measure_speed": (
            "BOOLEAN",
            {
                "default": True,
                "tooltip": "On (default): the report says whether INT8 is faster here, which it is not on every CPU. "
                "Off: saves that minute.",
            },
        ),
    }
