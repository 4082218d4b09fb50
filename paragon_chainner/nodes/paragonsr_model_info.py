"""ParagonSR Model Info."""

from __future__ import annotations

from paragon_engine.describe import describe_model

from ..host import Model, inputs, outputs
from ..models import own_model
from .group import group


@group.register(
    schema_id="chainner:paragonsr:model_info",
    name="ParagonSR Model Info",
    description="Say what a ParagonSR model is, which source decided each value, and how it may be run.",
    icon="ImInfo",
    inputs=[inputs.SrModelInput().with_id(0)],
    outputs=[
        outputs.TextOutput("Info").with_id(0),
        outputs.TextOutput("Layout").with_id(1),
        outputs.TextOutput("Variant").with_id(2),
        outputs.NumberOutput("Scale", output_type="Input0.scale").with_id(3),
        outputs.NumberOutput("Parameters", output_type="uint").with_id(4),
        outputs.BoolOutput("Fused").with_id(5),
    ],
    see_also=["chainner:pytorch:model_dim"],
)
def paragonsr_model_info_node(model: Model) -> tuple[str, str, str, int, int, bool]:
    """Return what `paragon_arch.inspect` reports of the model's file, and how the model may be run."""
    report = own_model(model).report
    return (
        "\n".join(describe_model(model)),
        report.layout,
        report.variant or "custom",
        model.scale,
        report.parameters,
        report.fused,
    )
