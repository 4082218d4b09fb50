"""Export ONNX (ParagonSR)."""

from __future__ import annotations

import math
import tempfile
from enum import Enum
from pathlib import Path

from paragon_arch import fuse
from paragon_arch.dead_leaves import dead_leaves
from paragon_arch.errors import InvalidOptionError, OutputError, QualityError
from paragon_arch.networks.base import SRNetwork
from paragon_arch.spandrel_support import ParagonModelDescriptor, private_model
from paragon_engine.onnx_export import SIZES, TOLERANCE, comparable, compare, export_onnx, sorts_tokens
from paragon_engine.quantize import QuantizationOptions, quantize
from paragon_engine.release.artefacts import graph_artefact
from paragon_engine.release.verify import LIMITS

from ..host import Model, NodeContext, OnnxModel, groups, inputs, onnx_model, outputs
from ..progress import NodeProgress
from ..words import apps_words, in_levels
from .group import group

LEAST_PSNR = LIMITS["fp16"].psnr or 0.0
"""Between the pictures of an FP16 graph and the model's, in dB; that of a release."""
PICTURE = 96
"""Side of the picture on which that is measured."""


class ParagonSRPrecision(Enum):
    """Type of an exported graph's weights and arithmetic."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class ParagonSROpset(Enum):
    """Version of ONNX's operators."""

    OPSET_17 = 17
    OPSET_18 = 18
    OPSET_19 = 19
    OPSET_20 = 20


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
            option_labels={kind: kind.name for kind in ParagonSRPrecision},
        )
        .with_id(1)
        .with_docs(
            "FP16 halves the file and is faster on GPUs; what would overflow stays in FP32.",
            "INT8 is faster on hardware that multiplies 8-bit values faster, such as NPUs and CPUs with VNNI. It needs"
            " pictures to calibrate on, and layers that lose too much stay in FP32.",
            "Whatever is chosen, the graph takes and gives FP32 images.",
            hint=True,
        ),
        groups.if_enum_group(1, (ParagonSRPrecision.FP32, ParagonSRPrecision.FP16))(
            inputs.EnumInput(
                ParagonSROpset,
                label="Opset",
                default=ParagonSROpset.OPSET_18,
                option_labels={opset: str(opset.value) for opset in ParagonSROpset},
            ).with_id(2),
            inputs.BoolInput("Fixed Size", default=False)
            .with_id(3)
            .with_docs(
                "A model for images of one size, which some runtimes run faster.",
                hint=True,
            ),
            groups.if_group(groups.Condition.bool(3, True))(
                inputs.NumberInput("Width", default=256, min=1, unit="px").with_id(4),
                inputs.NumberInput("Height", default=256, min=1, unit="px").with_id(5),
            ),
        ),
        groups.if_enum_group(1, ParagonSRPrecision.INT8)(
            inputs.DirectoryInput("Calibration Images")
            .make_optional()  # chaiNNer looks for a value even where the input is hidden
            .with_id(6)
            .with_docs(
                "A folder with a dozen or more pictures of the kind that you want to upscale, in good quality. Every"
                " fourth is kept for measuring what INT8 loses; a graph that loses more than 0.25 dB is refused.",
                hint=True,
            ),
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
    opset: ParagonSROpset,
    fixed: bool,
    width: int,
    height: int,
    calibration: Path | None,
) -> tuple[OnnxModel, str]:
    """Return (chaiNNer's ONNX model, how far its outputs are from the model's).

    Raises:
        OutputError: the graph computes something else.
        QualityError: FP16 or INT8 loses too much.
    """
    with apps_words():
        fused = fuse(private_model(model), accept_identity=True)
        if precision is ParagonSRPrecision.INT8:
            graph, text = _quantised(fused, calibration, NodeProgress(context))
        else:
            context.set_progress(0.1)
            half = precision is ParagonSRPrecision.FP16
            graph, text = _exported(fused, opset.value, (height, width) if fixed else None, half=half)
    order = (
        " The model sorts its pixels; the graph takes equal ones in their order." if sorts_tokens(fused.model) else ""
    )
    return onnx_model(graph), f"{precision.name}, {len(graph):,} bytes; {text}.{order}"


def _exported(
    model: ParagonModelDescriptor, opset: int, size: tuple[int, int] | None, *, half: bool
) -> tuple[bytes, str]:
    network, precision = model.model, "fp16" if half else "fp32"
    graph = export_onnx(network, precision=precision, opset=opset, dynamic=size is None, size=size)
    if half:
        quality = _psnr(graph, network, size)
        if quality < LEAST_PSNR:
            raise QualityError(
                f"FP16 loses too much of this model's pictures: {quality:.1f} dB between the two, where {LEAST_PSNR:g} "
                "are wanted: choose FP32"
            )
        return graph, f"opset {opset}; {quality:.1f} dB between its pictures and the model's ({LEAST_PSNR:g} wanted)"
    least = model.size_requirements.minimum
    sizes = [(count, max(h, least), max(w, least)) for count, h, w in (SIZES if size is None else [(1, *size)])]
    difference = compare(graph, network, sizes)
    if difference > TOLERANCE:
        raise OutputError(f"the graph's pictures differ by {in_levels(difference)}: please report this, with the model")
    return graph, f"opset {opset}; pictures differ from the model's by {in_levels(difference)} at most"


def _psnr(graph: bytes, network: SRNetwork, size: tuple[int, int] | None) -> float:
    """In dB, on a picture like a photograph; rounded as on hardware that computes in FP16."""
    height, width = size or (PICTURE, PICTURE)
    picture = dead_leaves(max(height, width), 0)[..., :height, :width]
    found, expected = graph_artefact(graph, name="the graph").run(picture), comparable(network)(picture)
    peak = max(1.0, float(expected.abs().max()))
    return -10 * math.log10(max(float((found - expected).square().mean()) / peak**2, 1e-20))


def _quantised(model: ParagonModelDescriptor, calibration: Path | None, progress: NodeProgress) -> tuple[bytes, str]:
    if calibration is None:
        raise InvalidOptionError("INT8 needs pictures to calibrate on: choose a folder of Calibration Images")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        report = quantize(model, calibration, file, options=QuantizationOptions(benchmark=False), progress=progress)
        report.raise_if_failed()
        graph = file.read_bytes()
    loss = f"{report.loss_db:.3f} dB and {report.ssim_loss:.4f} of SSIM lost on {len(report.pictures)} pictures"
    return graph, f"{100 * report.quantized_work:.0f} % of the work in INT8; {loss}"
