"""Export ONNX (ParagonSR)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spandrel import ImageModelDescriptor
from torch import Tensor

import paragon_arch
from paragon_arch.errors import OutputError
from paragon_arch.files.atomic import make_folder
from paragon_arch.spandrel_support import private_model
from paragon_engine.onnx_export import Precision
from paragon_engine.release.export import PRECISIONS, Export, ExportOptions, export_checkpoint
from paragon_engine.release.pictures import photographs

from . import host
from .contained_path import contained_path
from .describe import SEPARATOR
from .onnx_packages import WRITING, require_packages
from .progress import NodeProgress
from .scratch import ordinary_mode, scratch_folder, write_pictures

FOLDERS = {"models/onnx": host.graphs_folder, "output": host.output_folder}
BOTH = "fp32 and fp16"


class ExportOnnx:
    """Write a model as ONNX files, each proved equal to the model before it gets its name."""

    CATEGORY = "ParagonSR/model"
    DESCRIPTION = (
        "Exports a ParagonSR model to ONNX, in FP32, FP16 or both. Each file is compared with the model on pictures "
        "and odd sizes; one that differs is not written."
    )
    FUNCTION = "export"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("paths", "report")
    OUTPUT_TOOLTIPS = (
        "The files that were written, a line each.",
        "How far each file is from the model. Connect it to Preview Any to read it.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        return {"required": {**_model_and_name(), **_graph_widgets()}, "optional": {"images": _images()}}

    def export(
        self,
        upscale_model: ImageModelDescriptor[Any],
        file_name: str,
        folder: str,
        overwrite: bool,
        precision: str,
        opset: int,
        images: Tensor | None = None,
    ) -> tuple[str, str]:
        """Write the files; return their paths and the report.

        Raises:
            InvalidOptionError: not a model of the family, a name that leads out of the folder, a package is missing.
            OutputExistsError: a file exists and `overwrite` is off.
            OutputError: no file passed its verification, or none can be written.
        """
        require_packages(WRITING)
        model = private_model(upscale_model)
        target = contained_path(FOLDERS[folder](), file_name, suffix=".onnx")
        make_folder(target.parent)
        options = ExportOptions(precisions=_chosen(precision), opset=opset, stem=target.stem)
        with scratch_folder() as scratch, ordinary_mode():
            checkpoint = scratch / f"{target.stem}.safetensors"
            paragon_arch.save(model, checkpoint)
            pictures = photographs([] if images is None else write_pictures(images, scratch / "pictures"))
            exports = export_checkpoint(
                checkpoint, target.parent, options, pictures=pictures, overwrite=overwrite, progress=NodeProgress()
            )
        return _results(exports, target.parent)


def _chosen(precision: str) -> tuple[Precision, ...]:
    return tuple(item for item in PRECISIONS if precision in (BOTH, item))


def _results(exports: list[Export], folder: Path) -> tuple[str, str]:
    report = SEPARATOR.join(_line(item) for item in exports)
    written = [str(folder / item.name) for item in exports if item.verification.passed]
    if not written:
        raise OutputError(f"nothing was written: {report}")
    return "\n".join(written), report


def _line(item: Export) -> str:
    checked = item.verification
    state = "written" if checked.passed else "NOT written: " + "; ".join(checked.failures)
    return SEPARATOR.join([f"{item.name}: {state}", f"compared on {checked.pictures} and odd sizes", *item.notes])


def _model_and_name() -> dict[str, tuple[Any, ...]]:
    return {
        "upscale_model": ("UPSCALE_MODEL", {"tooltip": "A ParagonSR model; it stays as it is."}),
        "file_name": (
            "STRING",
            {
                "default": "paragonsr_model",
                "tooltip": "Beginning of the files' names; opset and precision are added. A sub-folder may stand in "
                "front (mine/model). Paths that lead out of the folder are refused.",
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


def _graph_widgets() -> dict[str, tuple[Any, ...]]:
    return {
        "precision": (
            [BOTH, *PRECISIONS],
            {
                "default": BOTH,
                "tooltip": "fp32 and fp16 (default): two files. fp32 runs everywhere. fp16 is half as large and much "
                "faster on GPUs; what does not bear it stays in FP32.",
            },
        ),
        "opset": (
            "INT",
            {
                "default": 18,
                "min": 17,
                "max": 20,
                "advanced": True,
                "tooltip": "Version of ONNX's operators, 17 to 20 (default 18). Lower ones suit older programs.",
            },
        ),
    }


def _images() -> tuple[Any, ...]:
    return ("IMAGE", {"tooltip": "Pictures to compare files and model on. Without any, generated ones are taken."})
