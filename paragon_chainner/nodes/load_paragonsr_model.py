"""Load ParagonSR Model."""

from __future__ import annotations

from pathlib import Path

import paragon_arch

from ..host import LoadedModel, NodeContext, groups, inputs, outputs, settings
from ..models import placed
from ..words import apps_words, in_the_apps_words
from .group import ICON, group

SET_SCALE, SCALE, SET_ALPHA, ALPHA = 1, 2, 3, 4
"""Ids of inputs; 0 is the file."""


@group.register(
    schema_id="chainner:paragonsr:load_model",
    name="Load ParagonSR Model",
    description=[
        "Load a ParagonSR or ParagonSR2 checkpoint of any generation. What it is gets recognised from the file.",
        "The standard Load Model node loads these files as well, but cannot see their names, which may say the scale.",
        "This node sees them, can be told what a file does not store, and shows what had to be guessed.",
    ],
    icon=ICON,
    inputs=[
        inputs.PthFileInput(primary_input=True).with_id(0),
        inputs.BoolInput("Set Scale", default=False)
        .with_id(SET_SCALE)
        .with_docs(
            "By default the scale is what the file says, or what measuring the model gives. Set it where the file does"
            " not say; a value that the file contradicts is refused.",
            hint=True,
        ),
        groups.if_group(groups.Condition.bool(SET_SCALE, True))(
            inputs.NumberInput("Scale", default=2, min=1, max=16, label_style="hidden").with_id(SCALE)
        ),
        inputs.BoolInput("Set Alpha", default=False)
        .with_id(SET_ALPHA)
        .with_docs(
            "Alpha is the strength of the filter in front of the upsampler. By default it is what the file says, or the"
            " layout's usual value. A model wants the value that it was trained with.",
            hint=True,
        ),
        groups.if_group(groups.Condition.bool(SET_ALPHA, True))(
            inputs.NumberInput(
                "Alpha", default=0.4, min=0, max=1, precision=2, step=0.05, label_style="hidden"
            ).with_id(ALPHA)
        ),
    ],
    outputs=[
        outputs.ModelOutput(
            model_type="""
                PyTorchModel {
                    scale: if Input1 { Input2 } else { int(1..) },
                    subType: "SR" | "Restoration",
                    tiling: ModelTiling::Supported | ModelTiling::Discouraged,
                }
            """,
            kind="tagged",
        ).suggest(),
        outputs.DirectoryOutput("Directory", of_input=0).with_id(2),
        outputs.FileNameOutput("Name", of_input=0).with_id(1),
        outputs.TextOutput("Notes").with_id(3),
    ],
    node_context=True,
    see_also=["chainner:pytorch:load_model"],
    side_effects=True,
)
def load_paragonsr_model_node(
    context: NodeContext, path: Path, set_scale: bool, scale: int, set_alpha: bool, alpha: float
) -> tuple[LoadedModel, Path, str, str]:
    """Load `path`; errors are those of `paragon_arch.load`. The notes are guesses, repairs and contradictions."""
    with apps_words():
        model = paragon_arch.load(path, scale=scale if set_scale else None, alpha=alpha if set_alpha else None)
    notes = in_the_apps_words("\n".join(model.report.problems))
    return placed(model, settings(context)), path.parent, path.stem, notes or "none"
