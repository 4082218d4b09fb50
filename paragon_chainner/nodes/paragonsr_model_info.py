"""ParagonSR Model Info."""

from __future__ import annotations

from paragon_arch.spandrel_support import family_model
from paragon_engine.describe import describe_model

from ..host import Model, inputs, outputs
from .group import group

STATES = "fused|not fused|nothing to fuse"
LAYOUT = 'regexReplace(Input0.arch, "^[^ ]+ ", "", 1)'
VARIANT = f'regexReplace(Input0.size, "^(.*?)x({STATES})(x.*)?$", "{{1}}", 1)'
STATE = f'regexReplace(Input0.size, "^.*?x({STATES})(x.*)?$", "{{1}}", 1)'
ALPHA = """regexReplace(
    string::concat(Input0.size, "xalpha none"), "^.*?xalpha (none|[^ ]+ [(][^)]*[)]).*$", "{1}", 1
)"""
"""navi types of outputs, so that they show before anything runs: chaiNNer puts a model's tags, with an x between two,
into the type of the model. Ours are in a fixed order."""


@group.register(
    schema_id="chainner:paragonsr:model_info",
    name="ParagonSR Model Info",
    description=[
        "Say what a ParagonSR model is, which source decided each value, and how it may be run.",
        "All but the text and the number of parameters show as soon as a model is connected.",
    ],
    icon="ImInfo",
    inputs=[inputs.SrModelInput().with_id(0)],
    outputs=[
        outputs.TextOutput("Info").with_id(0),
        outputs.TextOutput("Layout", output_type=LAYOUT).with_id(1),
        outputs.TextOutput("Variant", output_type=VARIANT).with_id(2),
        outputs.NumberOutput("Scale", output_type="Input0.scale").with_id(3),
        outputs.NumberOutput("Parameters", output_type="uint").with_id(4),
        outputs.TextOutput("Fused", output_type=STATE).with_id(5),
        outputs.TextOutput("Alpha", output_type=ALPHA).with_id(6),
    ],
    see_also=["chainner:pytorch:model_dim"],
    side_effects=True,
)
def paragonsr_model_info_node(model: Model) -> tuple[str, str, str, int, int, str, str]:
    """Return what `paragon_arch.inspect` reports of the model's file, and how the model may be run."""
    report = family_model(model).report
    alpha = report.values.get("alpha")
    return (
        "\n".join(describe_model(model)),
        report.layout,
        report.variant or "custom size",
        model.scale,
        report.parameters,
        report.fused_state,
        "none" if alpha is None or alpha.value is None else f"{alpha.value} ({alpha.source})",
    )
