"""Save ParagonSR Model."""

from __future__ import annotations

from pathlib import Path

import paragon_arch
from paragon_arch.spandrel_support import private_model

from ..host import Model, inputs
from ..words import apps_words
from .group import group


@group.register(
    schema_id="chainner:paragonsr:save_model",
    name="Save ParagonSR Model",
    description=[
        "Save a ParagonSR model as safetensors, in FP32, with everything that a loader must know.",
        "The standard Save Model node keeps the weights alone: a scale or an alpha that they do not show is lost.",
    ],
    icon="MdSave",
    inputs=[
        inputs.SrModelInput().with_id(0),
        inputs.DirectoryInput(must_exist=False).with_id(1),
        inputs.RelativePathInput("Model Name").with_id(2),
        inputs.BoolInput("Overwrite", default=False).with_id(3),
    ],
    outputs=[],
    see_also=["chainner:pytorch:save_model"],
    side_effects=True,
)
def save_paragonsr_model_node(model: Model, directory: Path, name: str, overwrite: bool) -> None:
    """Write ``directory/name.safetensors``; errors are those of `paragon_arch.save`."""
    file = (directory / f"{name}.safetensors").resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    with apps_words():
        paragon_arch.save(private_model(model), file, overwrite=overwrite)
