"""What is quantised: the FP32 graph of a model's inference form, and ranges that a trained checkpoint brings along."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

import paragon_arch
from paragon_arch.api import network_of
from paragon_arch.copying import private_copy
from paragon_arch.errors import InvalidOptionError, OutputError
from paragon_arch.networks.base import SRNetwork

from ..backends.forms import fused, sizes_for
from ..catalog import find_model
from ..inference import inference_form
from ..onnx_export import TOLERANCE, compare, export_onnx
from ..packages import require
from ..progress import log
from ..upscaler import Upscaler
from .fake import Range, enable, fakes, named_fakes, prepare_qat, ranges_of, stored_ranges
from .options import QuantizationOptions

if TYPE_CHECKING:
    from paragon_arch import ParagonModelDescriptor

Source: TypeAlias = "str | os.PathLike[str] | ParagonModelDescriptor | SRNetwork"


@dataclass(frozen=True)
class Subject:
    """A graph to quantise."""

    graph: bytes
    """FP32, serialised."""
    scale: int
    channels: int
    bounds: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    """Ranges of tensors that training left; {} where calibration must find them."""
    trained: frozenset[str] = frozenset()
    """Weights of the layers that were trained for it."""


def open_source(source: Source, options: QuantizationOptions) -> Subject:
    """Load, fuse and export a source."""
    require("onnx", "quantising")
    require("onnxruntime", "quantising")
    if isinstance(source, str | os.PathLike):
        source = find_model(os.fspath(source))
        ranges, network = stored_ranges(source), paragon_arch.open_model(source).model
    else:
        network = network_of(source)
        ranges = ranges_of(network)
    scale, channels = network.scale, int(network.hyperparameters.get("in_channels", 3))
    if not ranges:
        with Upscaler(network, device="cpu") as upscaler:
            return Subject(upscaler.graph(), scale, channels)
    if options.kind != "int8":
        raise InvalidOptionError("the checkpoint was trained for INT8; it cannot be exported as another kind")
    graph, bounds, trained = _trained(network, ranges)
    log.info("%d layers bring their ranges along; nothing is calibrated", len(trained))
    return Subject(graph, scale, channels, bounds, trained)


def _trained(
    network: SRNetwork, ranges: Mapping[str, Range]
) -> tuple[bytes, dict[str, dict[str, float]], frozenset[str]]:
    """The graph of a network with fake quantisation, ranges of the tensors that its layers read, and their weights."""
    twin = private_copy(network)
    if not fakes(twin):
        twin = fused(twin)
        prepare_qat(twin, ranges=ranges)
    enable(fakes(twin), False)
    original = {layer.origin: layer.weight for layer in fakes(twin)}
    form = inference_form(twin, target="graph")
    graph = export_onnx(form)
    worst = compare(graph, twin, sizes_for(twin))
    if not worst <= TOLERANCE:
        raise OutputError(f"the exported graph differs from the network by {worst:.1e}")
    readers = {
        f"network.{name}.weight": layer.origin
        for name, layer in named_fakes(form).items()
        if same_up_to_gain(original[layer.origin], layer.weight)
    }
    onnx = require("onnx", "quantising")
    inputs = {node.input[1]: node.input[0] for node in onnx.load_from_string(graph).graph.node if len(node.input) > 1}
    bounds = {inputs[weight]: _bounds(ranges[origin]) for weight, origin in readers.items() if weight in inputs}
    if not bounds:
        raise InvalidOptionError("no layer of the exported graph is one that the checkpoint was trained to quantise")
    return graph, bounds, frozenset(readers)


def _bounds(pair: Range) -> dict[str, float]:
    return {"lowest": pair[0], "highest": pair[1]}


@torch.no_grad()
def same_up_to_gain(before: Tensor, after: Tensor) -> bool:
    """Whether a rewrite has only scaled the output: then the layer still reads what it was trained on."""
    if before.shape != after.shape:
        return False
    flat, other = before.flatten(1).double(), after.flatten(1).double()
    gain = (other * flat).sum(1, keepdim=True) / (flat * flat).sum(1, keepdim=True).clamp(min=1e-30)
    return torch.allclose(other, gain * flat, rtol=1e-4, atol=1e-7)
