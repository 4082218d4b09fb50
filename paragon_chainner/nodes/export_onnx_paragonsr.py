"""Export ONNX (ParagonSR)."""

from __future__ import annotations

from enum import Enum

from paragon_arch import fuse
from paragon_arch.errors import OutputError
from paragon_engine.onnx_export import SIZES, TOLERANCE, compare, export_onnx

from ..host import Model, NodeContext, OnnxModel, groups, inputs, onnx_model, outputs
from ..models import copied, own_model
from .group import group


class ParagonSRPrecision(Enum):
    """Type of an exported graph's weights and arithmetic."""

    FP32 = "fp32"
    FP16 = "fp16"


@group.register(
    schema_id="chainner:paragonsr:export_onnx",
    name="Export ONNX (ParagonSR)",
    description=[
        "Turn a ParagonSR model into an ONNX model, for images of any size, and check that it gives the same pictures.",
        "The model is fused first, which changes no picture. Save it with the ONNX Save Model node.",
    ],
    icon="ONNX",
    inputs=[
        inputs.SrModelInput().with_id(0),
        inputs.EnumInput(
            ParagonSRPrecision,
            label="Precision",
            default=ParagonSRPrecision.FP32,
            option_labels={ParagonSRPrecision.FP32: "FP32", ParagonSRPrecision.FP16: "FP16"},
        )
        .with_id(1)
        .with_docs(
            "FP16 halves the file and is faster on GPUs; what would overflow stays in FP32. Whatever is chosen, the"
            " graph takes and gives FP32 images.",
            hint=True,
        ),
        inputs.NumberInput("Opset", default=18, min=17, max=20, has_handle=False).with_id(2),
        inputs.BoolInput("Fixed Size", default=False)
        .with_id(3)
        .with_docs(
            "A model for images of one size, which some runtimes run faster.",
            hint=True,
        ),
        groups.if_group(groups.Condition.bool(3, True))(
            inputs.NumberInput("Width", default=256, min=1, unit="px", has_handle=False).with_id(4),
            inputs.NumberInput("Height", default=256, min=1, unit="px", has_handle=False).with_id(5),
        ),
    ],
    outputs=[
        outputs.OnnxModelOutput(
            model_type="OnnxGenericModel & pytorchToOnnx(Input0)", label="ONNX Model", kind="tagged"
        ).with_id(0),
        outputs.TextOutput("Info").with_id(1),
    ],
    node_context=True,
    see_also=["chainner:pytorch:convert_to_onnx", "chainner:onnx:save_model"],
)
def export_onnx_paragonsr_node(
    context: NodeContext,
    model: Model,
    precision: ParagonSRPrecision,
    opset: int,
    fixed: bool,
    width: int,
    height: int,
) -> tuple[OnnxModel, str]:
    """Return (chaiNNer's ONNX model, how far its outputs are from the model's).

    Raises:
        OutputError: the graph computes something else.
    """
    network = fuse(copied(own_model(model)), accept_identity=True).cpu().model
    context.set_progress(0.1)
    size = (height, width) if fixed else None
    graph = export_onnx(network, precision=precision.value, opset=opset, dynamic=not fixed, size=size)
    context.set_progress(0.6)
    least = model.size_requirements.minimum
    sizes = [(count, max(h, least), max(w, least)) for count, h, w in (SIZES if size is None else [(1, *size)])]
    difference = compare(graph, network, sizes)
    if precision is ParagonSRPrecision.FP32 and difference > TOLERANCE:
        raise OutputError(f"the graph differs from the model by {difference:.1e}: please report this")
    text = f"{precision.name}, opset {opset}, {len(graph):,} bytes; largest difference from the model {difference:.1e}"
    return onnx_model(graph), text
