"""Every golden file of the original networks reproduces: unfused, fused, dynamic, training and video outputs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

import paragon_arch
from paragon_arch.errors import ParagonWarning
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.dynamic import TrackedTransformer
from paragon_arch.spandrel_support import ParagonModelDescriptor
from tests.golden import NAMES, Golden, read

TOLERANCE = 1e-4

# One layout of ours serves several of the originals' where keys and function are the same.
SAME_FUNCTION = {
    "v2-v9a": {"v2-v10", "v2-release"},
    "v2-v10": {"v2-v10", "v2-release"},
    "v2-atd": {"v2-atd", "v2-release"},
    "v2-hybrid-attn-window": {"v2-hybrid-attn"},
    "v2-hybrid-attn-global": {"v2-hybrid-attn"},
    "v2-hybrid-gn": {"v2-hybrid-gn"},
}


def load(state: dict[str, Tensor], golden: Golden) -> ParagonModelDescriptor:
    options = dict(golden.options.items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParagonWarning)  # flags that are kept on request
        return paragon_arch.load(state, tracked="keep", **options)


def check(network: SRNetwork, image: Tensor, expected: Tensor) -> None:
    with torch.no_grad():
        found = network(image)
    assert found.shape == expected.shape
    assert (found - expected).abs().max().item() <= TOLERANCE


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    return read(shared / "golden" / f"{request.param}.safetensors")


def test_layout_and_scale_are_recognised(golden: Golden) -> None:
    descriptor = load(golden.state, golden)
    assert descriptor.report.layout in SAME_FUNCTION.get(golden.layout, {golden.layout})
    assert descriptor.scale == golden.scale
    assert not descriptor.report.fused


def test_outputs_of_the_unfused_network(golden: Golden) -> None:
    network = load(golden.state, golden).model
    for image, expected in golden.pairs():
        check(network, image, expected)
    if "output_reference_identity" in golden.tensors:
        check(network, golden.tensors["input"], golden.tensors["output_reference_identity"])


def test_outputs_of_the_fused_network(golden: Golden) -> None:
    descriptor = load(golden.state, golden)
    fused = paragon_arch.fuse(descriptor, accept_identity=True)
    if golden.fused:
        assert {key: value.shape for key, value in fused.model.state_dict().items()} == {
            key: value.shape for key, value in golden.fused.items()
        }
        stored = load(golden.fused, golden)
        # a fused v2-dynamic of mode full cannot be told from mode off, which has nothing to fuse
        assert stored.report.fused or (golden.layout == "v2-dynamic" and not stored.report.fusible)
        check(stored.model, golden.tensors["input"], golden.tensors["output_fused"])
    if "output_fused" in golden.tensors:
        check(fused.model, golden.tensors["input"], golden.tensors["output_fused"])


def test_dynamic_and_training_outputs(golden: Golden) -> None:
    network = load(golden.state, golden).model
    if "output_train_dynamic" in golden.tensors:
        for module in network.modules():
            if isinstance(module, TrackedTransformer):
                module.dynamic_inference = True
        check(network, golden.tensors["input"], golden.tensors["output_train_dynamic"])
    if "output_train_mode" in golden.tensors:
        check(network.train(), golden.tensors["input"], golden.tensors["output_train_mode"])


def test_video_outputs(golden: Golden) -> None:
    if "output_video" not in golden.tensors:
        return
    network, image = load(golden.state, golden).model, golden.tensors["input"]
    with torch.no_grad():
        output, features = network(image, golden.tensors["prev_feat"], feature_tap=True)
        _, first = network(image, feature_tap=True)
    for found, name in ((output, "output_video"), (features, "feature_map"), (first, "feature_map_no_prev")):
        assert (found - golden.tensors[name]).abs().max().item() <= TOLERANCE


def test_flags_of_the_first_public_upload_are_repaired(shared: Path) -> None:
    golden = read(shared / "golden" / "real-nano_x2_ema-flagbug.safetensors")
    with pytest.warns(ParagonWarning, match="repaired"):
        network = paragon_arch.load(golden.state, scale=2).model
    check(network, golden.tensors["input"], golden.tensors["output_flag_forced_true"])


def test_layouts_do_not_overlap_in_the_goldens(golden: Golden) -> None:
    """Detection never rests on luck: what the winning layout reads builds exactly the keys that are there."""
    descriptor = load(golden.state, golden)
    assert descriptor.model.state_dict().keys() == golden.state.keys()
