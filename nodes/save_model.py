"""Save ParagonSR Model."""

from __future__ import annotations

from typing import Any

from spandrel import ImageModelDescriptor

import paragon_arch
from paragon_arch.files.atomic import make_folder
from paragon_arch.spandrel_support import family_model

from . import host
from .contained_path import contained_path

FOLDERS = {"models/upscale_models": host.models_folder, "output": host.output_folder}


class SaveModel:
    """Write a model as safetensors, with everything that a loader must know."""

    CATEGORY = "ParagonSR/model"
    DESCRIPTION = (
        "Saves a ParagonSR model as safetensors, with the values that its tensors do not tell (scale, alpha), so that "
        "nothing has to be guessed when it is loaded."
    )
    FUNCTION = "save"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("path",)
    OUTPUT_TOOLTIPS = ("Where the file was written.",)

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        return {
            "required": {
                "upscale_model": ("UPSCALE_MODEL", {"tooltip": "A ParagonSR model; it stays as it is."}),
                "file_name": (
                    "STRING",
                    {
                        "default": "paragonsr_model",
                        "tooltip": "Name of the file; its ending is added. A sub-folder may stand in front "
                        "(mine/model). Paths that lead out of the folder are refused.",
                    },
                ),
                "folder": (
                    list(FOLDERS),
                    {
                        "default": "models/upscale_models",
                        "tooltip": "models/upscale_models (default): loaders find it after a refresh (R). "
                        "output: ComfyUI's output folder, for passing it on.",
                    },
                ),
                "overwrite": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "Off (default): a file of this name is an error and stays as it is. "
                        "On: it is replaced.",
                    },
                ),
            },
            "optional": {
                "hint_tensors": (
                    "BOOLEAN",
                    {
                        "default": True,
                        "advanced": True,
                        "tooltip": "On (default): scale and alpha are also stored as small tensors, for loaders that "
                        "see only tensors, such as core's. Off: for training frameworks that refuse unknown tensors.",
                    },
                )
            },
        }

    def save(
        self,
        upscale_model: ImageModelDescriptor[Any],
        file_name: str,
        folder: str,
        overwrite: bool = False,
        hint_tensors: bool = True,
    ) -> tuple[str]:
        """Write the file and return its path.

        Raises:
            InvalidOptionError: not a model of the family, or a name that leads out of the folder.
            OutputExistsError: the file exists and `overwrite` is off.
            OutputError: it cannot be written.
        """
        model = family_model(upscale_model)
        path = contained_path(FOLDERS[folder](), file_name, suffix=".safetensors")
        make_folder(path.parent)
        paragon_arch.save(model, path, overwrite=overwrite, hint_tensors=hint_tensors)
        return (str(path),)
