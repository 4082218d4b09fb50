"""Fuse ParagonSR Model."""

from __future__ import annotations

from paragon_arch.api import fuse_verbosely
from paragon_arch.spandrel_support import family_model, private_model

from ..host import LoadedModel, Model, NodeContext, inputs, outputs, settings
from ..models import placed
from ..words import apps_words, in_levels
from .group import ICON, SAME_MODEL, group


@group.register(
    schema_id="chainner:paragonsr:fuse_model",
    name="Fuse ParagonSR Model",
    description=[
        "Merge the branches that only training needs into single convolutions: the same pictures with less work.",
        "The result is checked against the model that comes in, which stays as it is.",
        "Save ParagonSR Model keeps it. Convert To ONNX is many times faster with it.",
    ],
    icon=ICON,
    inputs=[
        inputs.SrModelInput().with_id(0),
        inputs.BoolInput("Accept Identity Kernels", default=False)
        .with_id(1)
        .with_docs(
            "A model whose dynamic kernels were never tracked in training is refused: calibrate it first. If this is"
            " on, such kernels become identities, as they are without fusing.",
            hint=True,
        ),
    ],
    outputs=[
        outputs.ModelOutput(model_type=SAME_MODEL, kind="tagged").with_id(0),
        outputs.TextOutput("Info").with_id(1),
    ],
    node_context=True,
    see_also=["chainner:paragonsr:calibrate_model", "chainner:paragonsr:save_model"],
)
def fuse_paragonsr_model_node(context: NodeContext, model: Model, accept_identity: bool) -> tuple[LoadedModel, str]:
    """Return (a fused copy, what was done)."""
    # in FP32: products of rounded weights would be rounded again
    with apps_words():
        fused, fusion = fuse_verbosely(private_model(model), accept_identity=accept_identity)
    text = fusion.message
    if fusion.changed:
        before, after = family_model(model).report.parameters, fused.report.parameters
        text = f"fused: {before:,} weights became {after:,}; pictures change by {in_levels(fusion.worst)} at most"
    return placed(fused, settings(context)), text
