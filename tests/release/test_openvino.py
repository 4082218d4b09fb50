"""Exported files run in OpenVINO, at sizes that they were not traced at, and give what the network gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import paragon_arch
from paragon_engine.backends.forms import fused
from paragon_engine.inference import inference_form
from paragon_engine.onnx_export import comparable, export_onnx
from tests.golden import read

openvino: Any = pytest.importorskip("openvino", reason="openvino is not installed: pip install openvino")

NAMES = (
    "v1-nearest_custom20_x3",
    "v2-atd_pro-shrunk32_x2",
    "v2-dualpath-v6_photo-shrunk16_ws8_x4_b2",
    "v2-hybrid-attn-global_nano_x2",
    "v2-hybrid-attn-window_nano_x2",
    "v2-magic_nano_x2_a1.0",
    "v2-release_stream_x4",
)
"""Every kind of operation: norms, sorting, windows of a fixed and a variable side, global attention, kernels."""


@pytest.mark.parametrize("name", NAMES)
def test_openvino_computes_what_the_network_does(name: str, shared: Path) -> None:
    golden = read(shared / "golden" / f"{name}.safetensors")
    network = fused(paragon_arch.load(golden.state, **golden.options).model)
    graph = export_onnx(inference_form(network, target="graph"), slim=True)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in ((1, 3, 37, 41), (2, 3, 17, 50)):
        image = torch.rand(*size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = comparable(network)(image)
        found = torch.from_numpy(compiled(image.numpy())[0])
        assert float((found - expected).abs().max() / expected.abs().max().clamp(min=1)) <= 1e-4
