"""From a network, or an inference form of one, to a serialised ONNX graph.

Made with PyTorch's tracing exporter. Measured on small networks of every layout (PyTorch 2.15, opset 18): 0.1 to 4 s,
where the newer exporter takes 12 to 110 s, and right to 1e-5 at sizes it was not traced at, window attention included,
because the networks compute with the tensor's own sizes and `symbolic` replaces the few modules that branch on them.
"""

from __future__ import annotations

import inspect
import io
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

import paragon_arch
from paragon_arch.errors import InvalidOptionError, OutputError
from paragon_arch.files.atomic import atomic_path
from paragon_arch.layouts import identify
from paragon_arch.networks.base import SRNetwork

from ..packages import require
from .check import check_graph
from .symbolic import obstacle, symbolic

Precision = Literal["fp32", "fp16"]

MIN_OPSET, MAX_OPSET = 17, 20
"""17 brings LayerNormalization, 20 is the tracing exporter's last."""
TRACED_AT = (41, 50)
"""Height and width of the traced input: larger than a window of 32, and a multiple of no window."""


class _Graph(nn.Module):
    """What is traced: one input, one output, both FP32, whatever the network computes in."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network.to("cpu", dtype), dtype

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image.to(self.dtype)).float()


def export_onnx(
    network: nn.Module,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 18,
    dynamic: bool = True,
    size: tuple[int, int] | None = None,
    precision: Precision = "fp32",
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> bytes:
    """Export a network as one ONNX file with the weights inside.

    The graph's input is ``input``, (N, C, H, W), RGB in 0..1, FP32; its output is ``output``, (N, C, H*s, W*s), not
    clamped. It has passed `check_graph`; `compare` measures it against the network.

    Args:
        network: of the family, fused, or an inference form; with the attribute ``scale``. Not changed.
        path: ends in ``.onnx``; appears complete or not at all. None writes no file.
        opset: 17 to 20. From 20 on GELU is a single node.
        dynamic: height and width stay open; the batch always does.
        size: height and width of a graph that is not dynamic.
        precision: "fp16" stores and computes in half precision, except what the network itself computes in FP32.
        metadata: added to the graph's ``metadata_props``.
        overwrite: replace an existing file.

    Returns:
        The serialised model.

    Raises:
        InvalidOptionError: options that make no sense or that this network excludes; a package is missing.
        OutputError: the graph failed its check, or the file cannot be written (`OutputExistsError`: it exists).
    """
    _check_options(network, opset=opset, dynamic=dynamic, size=size, precision=precision)
    require("onnx", "ONNX export")
    dtype = torch.float16 if precision == "fp16" else torch.float32
    graph = _trace(_Graph(symbolic(network), dtype).eval(), TRACED_AT if size is None else size, opset, dynamic)
    graph = _with_metadata(graph, {**_describe(network), "paragonsr.precision": precision, **(metadata or {})})
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
    network: nn.Module, *, opset: int, dynamic: bool, size: tuple[int, int] | None, precision: str
) -> None:
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise InvalidOptionError(f"opset {opset} cannot be written: give {MIN_OPSET} to {MAX_OPSET}")
    if dynamic != (size is None):
        raise InvalidOptionError("a fixed graph needs a size, and a dynamic one has none: give dynamic=False and size")
    if size is not None and min(size) < 1:
        raise InvalidOptionError(f"size {size[0]}x{size[1]} is no image: give height and width of 1 or more")
    if precision not in ("fp32", "fp16"):
        raise InvalidOptionError(f"precision {precision!r} is unknown: give fp32 or fp16")
    if precision == "fp16" and isinstance(network, SRNetwork) and not network.traits.half:
        raise InvalidOptionError(
            "this layout normalises over the whole image, and FP16 cannot hold the sums: export it in fp32"
        )
    reason = obstacle(network, dynamic=dynamic)
    if reason is not None:
        raise InvalidOptionError(f"this network cannot be exported: it {reason}")


@torch.no_grad()
def _trace(graph: nn.Module, size: tuple[int, int], opset: int, dynamic: bool) -> bytes:
    first = next(module for module in graph.modules() if isinstance(module, nn.Conv2d))
    image = torch.rand(1, first.in_channels, *size, generator=torch.Generator().manual_seed(0))
    spatial = {2: "height", 3: "width"} if dynamic else {}
    options: dict[str, Any] = {
        "input_names": ["input"],
        "output_names": ["output"],
        "dynamic_axes": {"input": {0: "batch", **spatial}, "output": {0: "batch", **_scaled(spatial)}},
        "opset_version": opset,
    }
    export = cast("Callable[..., None]", torch.onnx.export)  # as annotated it takes no streams
    if "dynamo" in inspect.signature(export).parameters:  # not in older releases
        options["dynamo"] = False
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every comparison of sizes
        export(graph, (image,), stream, **options)
    return stream.getvalue()


def _scaled(axes: dict[int, str]) -> dict[int, str]:
    return {axis: f"{name}_out" for axis, name in axes.items()}


def _describe(network: nn.Module) -> dict[str, str]:
    """What a user of the file must know and cannot see in the graph."""
    described = {
        "paragonsr.scale": str(scale_of(network)),
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


def _with_metadata(graph: bytes, metadata: Mapping[str, str]) -> bytes:
    onnx = require("onnx", "ONNX export")
    model = onnx.load_from_string(graph)
    model.producer_name, model.producer_version = "comfyui-paragonsr", paragon_arch.__version__
    model.doc_string = ""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    return model.SerializeToString()
