"""From a network, or an inference form of one, to a serialised ONNX graph.

Made with PyTorch's tracing exporter. Measured on small networks of every layout (PyTorch 2.15, opset 18): 0.1 to 4 s,
where the newer exporter takes 12 to 110 s, and right to 1e-5 at sizes it was not traced at, window attention included,
because the networks put every decision about sizes into the graph (`paragon_arch.networks.traced`).
"""

from __future__ import annotations

import inspect
import io as streams
import os
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

import paragon_arch
from paragon_arch.copying import private_copy
from paragon_arch.errors import InvalidOptionError, OutputError
from paragon_arch.files.atomic import atomic_path
from paragon_arch.layouts import identify
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.v2_release import ParagonSR2Release

from ..packages import require
from ..progress import log
from .check import check_graph
from .half import to_half
from .order import comparable
from .slim import slim as slimmed

Precision = Literal["fp32", "fp16"]

MIN_OPSET, MAX_OPSET = 17, 20
"""17 brings LayerNormalization, 20 is the tracing exporter's last."""
TRACED_AT = (41, 50)
"""Height and width of the traced input: larger than a window of 32, and a multiple of no window."""


class _Graph(nn.Module):
    """What is traced: an image in, an image out; for video also shallow features, the last frame's and this one's."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, previous: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        return self.network(image) if previous is None else self.network(image, previous, feature_tap=True)


def has_feature_tap(network: nn.Module) -> bool:
    """Whether a network of the family takes and returns the shallow features of video frames."""
    return isinstance(network, ParagonSR2Release)


def usable_opset(wanted: int) -> int:
    """The opset nearest to the wanted one that can be written; a correction is logged."""
    nearest = min(max(wanted, MIN_OPSET), MAX_OPSET)
    if nearest != wanted:
        log.warning(
            "opset %d cannot be written, %d is used: below %d there is no LayerNormalization, "
            "and the exporter knows none above %d",
            wanted,
            nearest,
            MIN_OPSET,
            MAX_OPSET,
        )
    return nearest


def export_onnx(
    network: nn.Module,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 18,
    dynamic: bool = True,
    size: tuple[int, int] | None = None,
    precision: Precision = "fp32",
    io: Precision = "fp32",
    keep: Collection[str] = (),
    video: bool = False,
    slim: bool = False,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> bytes:
    """Export a network as one ONNX file with the weights inside.

    The graph's input is ``input``, (N, C, H, W), RGB in 0..1; its output is ``output``, (N, C, H*s, W*s), not clamped.
    It has passed `check_graph`; `compare` measures it against the network.

    Args:
        network: of the family, fused, or an inference form; with the attribute ``scale``. Not changed.
        path: ends in ``.onnx``; appears complete or not at all. None writes no file.
        opset: 17 to 20. From 20 on GELU is a single node.
        dynamic: height and width stay open; the batch always does.
        size: height and width of a graph that is not dynamic.
        precision: "fp16" stores and computes in half precision, except sums over the image and what ``keep`` names.
        io: type of inputs and outputs; FP32 ones can be fed by any program, whatever the graph computes in.
        keep: names of nodes that stay in FP32; they are those of the FP32 export with the same options.
        video: also an input ``prev_feat``, the previous frame's shallow features (the first frame's are zeros), and
            an output ``feature_map``, this frame's. For an inference form the caller knows (`has_feature_tap`).
        slim: shorten the graph with onnxslim.
        metadata: added to the graph's ``metadata_props``.
        overwrite: replace an existing file.

    Returns:
        The serialised model.

    Raises:
        InvalidOptionError: options that make no sense or that this network excludes; a package is missing.
        OutputError: the graph failed its check, or the file cannot be written (`OutputExistsError`: it exists).
    """
    _check_options(network, opset=opset, dynamic=dynamic, size=size, precision=precision, video=video)
    require("onnx", "ONNX export")
    traced = private_copy(comparable(network), device="cpu", dtype=torch.float32).eval()
    graph = _trace(traced, TRACED_AT if size is None else size, opset, dynamic, video)
    graph = slimmed(graph) if slim else graph
    if precision == "fp16":
        graph = to_half(graph, keep=keep, io=io)
    facts = {**_describe(network), "paragonsr.precision": precision, "paragonsr.opset": str(opset)}
    graph = with_metadata(graph, {**facts, **(metadata or {})})
    check_graph(graph, scale=scale_of(network))
    if path is not None:
        if not os.fspath(path).lower().endswith(".onnx"):
            raise OutputError(f"{os.fspath(path)}: name the output *.onnx")
        with atomic_path(path, overwrite=overwrite) as temp:
            temp.write_bytes(graph)
    return graph


def scale_of(network: nn.Module) -> int:
    """Output pixels per input pixel of a network or an inference form."""
    scale = getattr(network, "scale", None)
    if not isinstance(scale, int):
        raise InvalidOptionError(f"{type(network).__name__} has no scale: give a network of the family or a form of it")
    return scale


def _check_options(
    network: nn.Module, *, opset: int, dynamic: bool, size: tuple[int, int] | None, precision: str, video: bool
) -> None:
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise InvalidOptionError(f"opset {opset} cannot be written: give {MIN_OPSET} to {MAX_OPSET}")
    if dynamic != (size is None):
        raise InvalidOptionError("a fixed graph needs a size, and a dynamic one has none: give dynamic=False and size")
    if size is not None and min(size) < 1:
        raise InvalidOptionError(f"size {size[0]}x{size[1]} is no image: give height and width of 1 or more")
    if precision not in ("fp32", "fp16"):
        raise InvalidOptionError(f"precision {precision!r} is unknown: give fp32 or fp16")
    if video and isinstance(network, SRNetwork) and not has_feature_tap(network):
        raise InvalidOptionError("only the layouts v2-v10 and v2-release have the feature tap of a video graph")


@torch.no_grad()
def _trace(network: nn.Module, size: tuple[int, int], opset: int, dynamic: bool, video: bool) -> bytes:
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(1, first.in_channels, *size, generator=generator)]
    spatial = {2: "height", 3: "width"} if dynamic else {}
    open_axes = {"input": {0: "batch", **spatial}, "output": {0: "batch", **_scaled(spatial)}}
    if video:
        inputs.append(network(inputs[0], feature_tap=True)[1])
        open_axes |= {name: {0: "batch", **spatial} for name in ("prev_feat", "feature_map")}
    options: dict[str, Any] = {
        "input_names": ["input", "prev_feat"][: len(inputs)],
        "output_names": ["output", "feature_map"][: len(inputs)],
        "dynamic_axes": open_axes,
        "opset_version": opset,
    }
    export = cast("Callable[..., None]", torch.onnx.export)  # as annotated it takes no streams
    if "dynamo" in inspect.signature(export).parameters:  # not in older releases
        options["dynamo"] = False
    stream = streams.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every comparison of sizes
        export(_Graph(network).eval(), tuple(inputs), stream, **options)
    return stream.getvalue()


def _scaled(axes: dict[int, str]) -> dict[int, str]:
    return {axis: f"{name}_out" for axis, name in axes.items()}


def _describe(network: nn.Module) -> dict[str, str]:
    """What a user of the file must know and cannot see in the graph."""
    described = {
        "paragonsr.scale": str(scale_of(network)),
        "paragonsr.minimum_size": str(getattr(network, "minimum_size", 1)),
        "paragonsr.value_range": "0..1",
        "paragonsr.colour_order": "RGB",
        "paragonsr.torch": torch.__version__,
    }
    if isinstance(network, SRNetwork):
        layout = identify(network.state_dict())
        described |= {} if layout is None else {"paragonsr.layout": layout.id}
        described |= {} if network.alpha is None else {"paragonsr.alpha": repr(float(network.alpha))}
        described |= {} if network.traits.window is None else {"paragonsr.window": str(network.traits.window)}
    return described


def with_metadata(graph: bytes, metadata: Mapping[str, str]) -> bytes:
    """A serialised model with these ``metadata_props``, and no others."""
    onnx = require("onnx", "ONNX export")
    model = onnx.load_from_string(graph)
    model.producer_name, model.producer_version = "comfyui-paragonsr", paragon_arch.__version__
    model.doc_string = ""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    return model.SerializeToString(deterministic=True)
