"""Load ParagonSR Model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import paragon_arch
from paragon_arch.errors import InvalidOptionError
from paragon_engine.catalog import shipped_models

from . import host
from .describe import badge, describe

AUTO = "auto"
SCALES = (AUTO, "1", "2", "3", "4", "6", "8", "16")
ALPHAS = (AUTO, *(f"{step / 20:.2f}" for step in range(21)))


class LoadModel:
    """Choose a checkpoint of any ParagonSR generation; what it is gets recognised from the file."""

    CATEGORY = "ParagonSR"
    DESCRIPTION = (
        "Loads a ParagonSR or ParagonSR2 checkpoint of any generation as a standard upscale model. The line below the "
        "choice says what the file was recognised as."
    )
    FUNCTION = "load"
    RETURN_TYPES = ("UPSCALE_MODEL", "STRING")
    RETURN_NAMES = ("upscale_model", "info")
    OUTPUT_TOOLTIPS = (
        "The model, for any node that upscales with a model, ComfyUI's own included.",
        "What was recognised, and where each value came from. Connect it to Preview Any to read it.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> host.Inputs:  # noqa: N802  (ComfyUI's name)
        """The node's widgets, in ComfyUI's form."""
        names = host.model_names()
        first = {"default": name} if (name := _works()) in names else {}
        tooltip = (
            "A .safetensors, .pth or .ckpt file in models/upscale_models, or a model that came with the pack. After "
            "adding a file press R."
        )
        return {
            "required": {"model_name": (names, {**first, "tooltip": tooltip})},
            "optional": {
                "scale": (
                    list(SCALES),
                    {
                        "default": AUTO,
                        "advanced": True,
                        "tooltip": "How many times larger the model makes a picture. auto (default): as the file says, "
                        "or as measured. A number that the file contradicts is refused.",
                    },
                ),
                "alpha": (
                    list(ALPHAS),
                    {
                        "default": AUTO,
                        "advanced": True,
                        "tooltip": "Strength of the filter in front of the upsampler, 0 to 1, in layouts that have "
                        "one. auto (default): as the file says, else the layout's own. A model wants the value that "
                        "it was trained with.",
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, model_name: str, **_: object) -> str:  # noqa: N802  (ComfyUI's name)
        """A file that was replaced under its old name is loaded again."""
        return host.stamp(Path(host.model_path(model_name)))

    @classmethod
    def VALIDATE_INPUTS(cls, scale: object = AUTO, alpha: object = AUTO) -> bool | str:  # noqa: N802  (ComfyUI's name)
        """Numbers are right too: workflows through the API give them, and stored ones of earlier versions."""
        try:
            overrides(scale, alpha)
        except InvalidOptionError as error:
            return str(error)
        return True

    def load(self, model_name: str, scale: object = AUTO, alpha: object = AUTO) -> dict[str, Any]:
        """Load `model_name`: (descriptor, text), and the badge; errors are those of `paragon_arch.load`."""
        chosen, strength = overrides(scale, alpha)
        descriptor = paragon_arch.load(host.model_path(model_name), scale=chosen, alpha=strength)
        text = describe(descriptor.report)
        return {
            "ui": {"paragonsr_badge": [{**badge(descriptor.report), "details": text}]},
            "result": (host.as_upscale_model(descriptor), text),
        }


def _works() -> str:
    """A model for a node that has just been added: the first name of the list may be anything."""
    return next((model.path.name for model in shipped_models() if model.default), "")


def overrides(scale: object, alpha: object) -> tuple[int | None, float | None]:
    """What the widgets' values override in a file; None where the file decides, for "auto", 0 and a negative alpha.

    Raises:
        InvalidOptionError: neither a number nor "auto".
    """
    try:
        chosen = 0 if scale in (AUTO, None) else int(str(scale))
    except ValueError:
        raise InvalidOptionError(f"scale {scale!r} is neither a whole number nor auto") from None
    try:
        strength = -1.0 if alpha in (AUTO, None) else float(str(alpha))
    except ValueError:
        raise InvalidOptionError(f"alpha {alpha!r} is neither a number nor auto") from None
    return chosen or None, None if strength < 0 else strength
