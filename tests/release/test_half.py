"""FP16: real, strongly typed, and FP32 only where that is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from paragon_arch.errors import OutputError
from paragon_engine.onnx_export import export_onnx, to_half
from paragon_engine.onnx_export.check import check_graph
from paragon_engine.release.artefacts import graph_artefact
from paragon_engine.release.half import half_graph
from tests.engine_models import network

HALF, FULL = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def kinds(graph: bytes) -> dict[str, set[int]]:
    """Types of the first input of every operator, by operator."""
    model: Any = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph), strict_mode=True)
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {item.name: item.data_type for item in model.graph.initializer}
    found: dict[str, set[int]] = {}
    for node in model.graph.node:
        found.setdefault(node.op_type, set()).update(types[name] for name in node.input[:1] if name in types)
    return found


def test_weights_and_arithmetic_are_half() -> None:
    graph = export_onnx(network(), precision="fp16")
    assert kinds(graph)["Conv"] == {HALF}
    weights = {item.data_type for item in onnx.load_from_string(graph).graph.initializer if len(item.dims) == 4}
    assert weights == {HALF}


@pytest.mark.parametrize("io", ["fp32", "fp16"])
def test_inputs_and_outputs_have_the_type_that_was_asked_for(io: Any) -> None:
    model: Any = onnx.load_from_string(export_onnx(network(), precision="fp16", io=io, video=True))
    wanted = {"fp32": FULL, "fp16": HALF}[io]
    values = (*model.graph.input, *model.graph.output)
    assert [value.name for value in values] == ["input", "prev_feat", "output", "feature_map"]
    assert {value.type.tensor_type.elem_type for value in values} == {wanted}


def test_chosen_nodes_stay_in_full_precision() -> None:
    graph = export_onnx(network())
    conv = next(node.name for node in onnx.load_from_string(graph).graph.node if node.op_type == "Conv")
    converted = to_half(graph, keep=[conv])
    check_graph(converted, scale=2)
    assert kinds(converted)["Conv"] == {HALF, FULL}
    onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])  # refuses mixed types


class Loud(nn.Module):
    """Values beyond FP16's range inside, an ordinary picture outside."""

    scale = 1

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(3)[:, :, None, None] * 3e4)
            self.last.weight.copy_(torch.eye(3)[:, :, None, None] / 9e4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x) * 3.0))


def test_large_values_are_found_by_measuring() -> None:
    graph, image = export_onnx(Loud()), torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    naive = graph_artefact(to_half(graph), name="naive").run(image)
    assert not bool(torch.isfinite(naive).all())
    found = half_graph(graph, [image])
    assert found.large >= 3
    assert found.psnr > 60
    result = graph_artefact(found.graph, name="measured").run(image)
    assert float((result - image).abs().max()) < 2e-3


def test_what_loses_most_is_moved_first() -> None:
    graph, image = export_onnx(network()), torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    plain, better = half_graph(graph, [image], target=40), half_graph(graph, [image], target=120)
    assert plain.groups == ()
    assert better.groups
    assert better.psnr > plain.psnr + 1


def test_rounding_is_that_of_the_type() -> None:
    """Against PyTorch, whose CPU kernels round every FP16 tensor; both add up in FP32."""
    graph, image = (
        export_onnx(network(), precision="fp16"),
        torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(0)),
    )
    with torch.inference_mode():
        exact, half = network()(image), network().half()(image.half()).float()
    found = graph_artefact(graph, name="simulated").run(image)
    optimistic = graph_artefact(graph, name="runtime", simulate=False).run(image)
    rms = [float((x - exact).square().mean().sqrt()) for x in (half, found, optimistic)]
    assert 0.5 < rms[1] / rms[0] < 2
    assert rms[2] < rms[1]


def test_quantised_graphs_are_refused() -> None:
    model: Any = onnx.load_from_string(export_onnx(network()))
    model.graph.node.append(onnx.helper.make_node("QuantizeLinear", ["output", "s"], ["q"]))
    with pytest.raises(OutputError, match="quantisation"):
        to_half(model.SerializeToString())


def test_a_weight_that_half_precision_cannot_hold_stays() -> None:
    net = Loud()
    with torch.no_grad():
        net.first.weight.mul_(10)
    converted = onnx.load_from_string(to_half(export_onnx(net)))
    largest = [item for item in converted.graph.initializer if item.data_type == FULL and len(item.dims) == 4]
    assert [float(np.abs(onnx.numpy_helper.to_array(item)).max()) for item in largest] == [3e5]
