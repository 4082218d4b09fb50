"""ONNX export: every layout, at sizes it was not traced at, in the runtime that others use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

import paragon_arch
from paragon_arch.errors import InvalidOptionError, OutputError, OutputExistsError
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.v1 import ParagonSR
from paragon_engine.backends.forms import fused, graph_of, sizes_for
from paragon_engine.inference import inference_form
from paragon_engine.onnx_export import check_graph, compare, export_onnx, inferred_scale
from paragon_engine.release.artefacts import graph_artefact
from tests.engine_models import network
from tests.golden import read

TOLERANCE = 1e-4

EXPORTED = [
    "v1-ln_tiny_x2",
    "v1-magic_custom24_x4_b2",
    "v1-nearest_custom20_x3",
    "v1-pixelshuffle_custom20_x3_b2",
    "v1-prels_custom24_x4",
    "v2-atd-norm1d_photo-shrunk16_x2",
    "v2-dualpath-rgbgate_stream_x4",
    "v2-dualpath-rgbgate_photo-shrunk16_x2",
    "v2-dualpath-v6_photo-shrunk16_ws8_x4_b2",
    "v2-dualpath-v6_realtime_x4",
    "v2-dualpath-v7_stream_x4",
    "v2-dualpath-v8_realtime_x2",
    "v2-dynamic_custom16_x4_full_b2",
    "v2-hybrid-attn-global_nano_x2",
    "v2-hybrid-attn-window_tiny_x2",
    "v2-hybrid-dense_nano_x2",
    "v2-hybrid-gn_nano_x2",
    "v2-hybrid-rms_tiny_x2",
    "v2-magic-hr_xs_x4_a0.5",
    "v2-magic-reparam_custom20_x2",
    "v2-magic_nano_x2_a1.0",
    "v2-pixelshuffle_custom16_x4_b2",
    "v2-release_photo-shrunk16_x3",
    "v2-release_pro-shrunk16_ws8_x4_b2",
    "v2-release_realtime_x2",
    "v2-release_stream_x4",
    "v2-static_micro_x2",
    "v2-v10_stream_x3",
    "v2-v9a_stream_x2",
]
"""One golden network or more of every layout, except v2-ultimate (a minute) and v2-atd's pro (below)."""


def golden_network(shared: Path, name: str) -> SRNetwork:
    golden = read(shared / "golden" / f"{name}.safetensors")
    return fused(paragon_arch.load(golden.state, **golden.options).model)


@pytest.mark.parametrize("name", EXPORTED)
def test_graph_of_the_inference_form_equals_the_network(name: str, shared: Path) -> None:
    net = golden_network(shared, name)
    graph = graph_of(net)
    check_graph(graph, scale=net.scale)
    assert compare(graph, net, sizes_for(net)) <= TOLERANCE


@pytest.mark.parametrize("name", ["v2-release_stream_x4", "v2-magic_nano_x2_a1.0", "v2-release_photo-shrunk16_x3"])
def test_a_fused_network_exports_as_it_is(name: str, shared: Path) -> None:
    net = golden_network(shared, name)
    assert compare(export_onnx(net), net, sizes_for(net)) <= TOLERANCE


@pytest.mark.parametrize("opset", [17, 18, 19, 20])
def test_opsets(opset: int) -> None:
    net = network()
    graph = export_onnx(net, opset=opset)
    assert onnx.load_from_string(graph).opset_import[0].version == opset
    assert compare(graph, net) <= TOLERANCE


def test_half_precision_is_real(shared: Path) -> None:
    net = golden_network(shared, "v2-release_stream_x4")
    graph = export_onnx(net, precision="fp16")
    half = {onnx.TensorProto.FLOAT16}
    weights = {init.data_type for init in onnx.load_from_string(graph).graph.initializer if len(init.dims) == 4}
    assert weights == half
    assert 1e-6 < compare(graph, net) < 5e-3  # not the FP32 graph under another name


def test_interface_and_metadata(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    graph = export_onnx(network(scale=3), target, metadata={"paragonsr.source": "test"})
    assert target.read_bytes() == graph
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]  # no external data, nothing left over
    model: Any = onnx.load(str(target))
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["input", "output"]
    dims = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 3, "height", "width"]
    properties = {item.key: item.value for item in model.metadata_props}
    assert properties["paragonsr.layout"] == "v2-release"
    assert properties["paragonsr.scale"] == "3"
    assert properties["paragonsr.alpha"] == "0.3"
    assert properties["paragonsr.source"] == "test"
    assert model.producer_name == "comfyui-paragonsr"


def test_two_exports_are_the_same_bytes() -> None:
    assert export_onnx(network()) == export_onnx(network())


def test_exporting_does_not_change_the_network() -> None:
    net = network()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    export_onnx(net, precision="fp16")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_an_existing_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        export_onnx(network(), target)
    assert target.read_bytes() == b"precious"


def test_sorted_tokens_keep_the_order_of_the_pixels(shared: Path) -> None:
    net = golden_network(shared, "v2-atd_pro-shrunk32_x2")
    graph = export_onnx(net)
    assert compare(graph, net, [(1, 37, 29), (2, 40, 31), (1, 8, 65)]) <= TOLERANCE
    with pytest.raises(InvalidOptionError, match="sorts its tokens"):
        graph_of(net)  # a backend must not give another picture than PyTorch


def test_a_graph_of_one_size(shared: Path) -> None:
    net = golden_network(shared, "v2-hybrid-attn-window_nano_x2")
    graph = export_onnx(net, dynamic=False, size=(37, 52))
    assert compare(graph, net, [(1, 37, 52), (2, 37, 52)]) <= TOLERANCE
    with pytest.raises(OutputError, match="1x3x16x16"):
        compare(graph, net, [(1, 16, 16)])


@pytest.mark.parametrize(
    "options",
    [
        {"opset": 16},
        {"opset": 21},
        {"dynamic": False},
        {"size": (32, 32)},
        {"dynamic": False, "size": (0, 8)},
        {"precision": "int8"},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="give"):
        export_onnx(network(), **options)


def test_half_precision_keeps_norms_over_the_image_in_full(shared: Path) -> None:
    net = golden_network(shared, "v2-hybrid-gn_nano_x2")
    graph = graph_artefact(export_onnx(net, precision="fp16"), name="norms")
    image = 4 * torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = net(image)
    assert float((graph.run(image) - expected).square().mean().sqrt() / expected.abs().max()) < 1e-3


def test_half_precision_keeps_what_norms_compute_from_a_map_in_full() -> None:
    net = ParagonSR(scale=2, num_feat=16, num_groups=1, num_blocks=1, hidden=32, branch=4).eval()
    graph = onnx.load_from_string(export_onnx(inference_form(net, target="graph"), precision="fp16"))
    casts = {name: node.input[0] for node in graph.graph.node if node.op_type == "Cast" for name in node.output}
    made = {name: node for node in graph.graph.node for name in node.output}
    roots = [node for node in graph.graph.node if node.op_type == "Sqrt"]
    assert len(roots) == 2  # two norms
    for root in roots:
        variance = made[root.input[0]]
        assert variance.op_type == "Add"
        (mean,) = (made[name] for name in variance.input if name in made)
        square = made[mean.input[0]]
        assert (mean.op_type, square.op_type) == ("ReduceMean", "Mul")
        assert square.input[0] in casts  # deviations are halves, their squares are not


def test_a_missing_package_names_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InvalidOptionError, match="pip install onnx"):
        export_onnx(network())


def test_a_wrong_graph_is_noticed() -> None:
    net, other = network(), network(seed=1)
    assert compare(export_onnx(net), other) > TOLERANCE


def test_a_graph_whose_scale_cannot_be_inferred_is_refused() -> None:
    class Cropped(nn.Module):
        scale = 2

        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)[..., 1:]

    with pytest.raises(OutputError, match="scale"):
        export_onnx(Cropped())


def test_scale_is_inferred_as_other_programs_do() -> None:
    graph = export_onnx(network(scale=4))
    assert [inferred_scale(graph, size) for size in (16, 64, 256, 512)] == [4, 4, 4, 4]
