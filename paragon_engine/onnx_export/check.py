"""Proofs about an exported graph: it is valid, its scale can be inferred, and it computes what the network does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from paragon_arch.errors import OutputError

from ..packages import require
from ..progress import log
from .order import comparable

SIZES = ((1, 17, 23), (2, 40, 31), (1, 8, 513), (1, 61, 5))
"""(batch, height, width) that no export is traced at: primes, below a window, very wide, very narrow."""
TOLERANCE = 1e-4
"""Largest allowed difference between a graph's FP32 output and the network's."""
INFERRED_AT = (16, 64, 256, 512)
"""Square sizes from which other programs infer a graph's scale."""


def check_graph(graph: bytes, *, scale: int) -> None:
    """Check a serialised graph with ONNX's own checker, and that its scale can be inferred.

    Raises:
        OutputError: it is not valid, or shape inference finds another scale or none.
        InvalidOptionError: the package onnx is missing.
    """
    onnx = require("onnx", "checking an ONNX graph")
    model = onnx.load_from_string(graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise OutputError(f"the exported graph is not valid ONNX: {str(error).splitlines()[0]}") from error
    for size in INFERRED_AT if is_dynamic(model) else ():
        found = inferred_scale(graph, size)
        if found != scale:
            raise OutputError(f"the exported graph's scale, inferred at {size} x {size}, is {found}, not {scale}")


def is_dynamic(model: Any) -> bool:
    """Whether the height of a graph's input is open."""
    return bool(model.graph.input[0].type.tensor_type.shape.dim[2].dim_param)


def inferred_scale(graph: bytes, size: int) -> float | None:
    """The scale that plain ONNX shape inference finds for a square input; None if it finds none."""
    onnx = require("onnx", "checking an ONNX graph")
    model = onnx.load_from_string(graph)
    for graph_input in model.graph.input:
        for dim, value in zip(graph_input.type.tensor_type.shape.dim, (1, 3, size, size), strict=False):
            if not dim.dim_value:
                dim.dim_value = value
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # the package's errors share no base class
        log.info("the scale of an ONNX graph cannot be inferred: %s", str(error)[:200])
        return None
    sides = [dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim[2:]]
    return sides[0] / size if len(sides) == 2 and sides[0] and sides[0] == sides[1] else None


@torch.inference_mode()
def compare(graph: bytes, network: nn.Module, sizes: Sequence[tuple[int, int, int]] = SIZES) -> float:
    """Largest difference between a graph in ONNX Runtime on the CPU and a network in FP32.

    A graph of v2-atd's pro takes the tokens of a category in the order of the pixels, and so does what it is compared
    with; the network itself leaves the order to the platform.

    Args:
        graph: serialised model with FP32 input and output.
        network: on the CPU, in evaluation mode.
        sizes: (batch, height, width) of random images in 0..1 to compare on.

    Returns:
        The maximum of absolute differences, relative to the larger of 1 and the network's largest output.

    Raises:
        OutputError: the graph does not run at one of the sizes.
        InvalidOptionError: the package onnxruntime is missing.
    """
    ort = require("onnxruntime", "comparing an ONNX graph")
    options = ort.SessionOptions()
    options.log_severity_level = 4  # a graph that fails is reported below
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    network = comparable(network)
    channels, generator, worst = session.get_inputs()[0].shape[1], torch.Generator().manual_seed(0), 0.0
    for batch, height, width in sizes:
        x = torch.rand(batch, channels, height, width, generator=generator)
        worst = max(worst, _difference(_run(session, x), network(x)))
    return worst


def _run(session: Any, x: Tensor) -> Tensor:
    try:
        return torch.from_numpy(session.run(None, {"input": x.numpy()})[0])
    except Exception as error:  # onnxruntime's errors share no base class
        size = "x".join(map(str, x.shape))
        raise OutputError(f"the exported graph fails on an input of {size}: {str(error)[:200]}") from error


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        raise OutputError(f"the exported graph's output is {tuple(found.shape)}, not {tuple(expected.shape)}")
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1))
