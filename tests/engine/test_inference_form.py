"""The inference form equals the network: every layout, every pass, borders included."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

import paragon_arch
from benchmarks.reference import reference_form
from paragon_arch.errors import InvalidOptionError, ParagonWarning
from paragon_arch.fusion import fuse_network
from paragon_arch.layouts import LAYOUTS
from paragon_engine.inference import PASSES, InferenceForm, Target, bands, inference_form
from paragon_engine.inference.modules import MishProduct, SigmoidMish
from paragon_engine.upscaler import GRAPH_MINIMUM
from tests.engine.inference_cases import CASES, build, worst_difference
from tests.golden import NAMES, read

DOUBLE, SINGLE = 2e-6, 1e-4

NEEDS = {
    "tail_merged": ["gain_fold"],  # the gain stands behind the convolutions to be merged
    "norm_moments": ["layer_scale_fold"],
    "context_in_place": ["layer_scale_fold"],
    "context_filters": ["layer_scale_fold"],
    "borders_apart": ["gain_fold", "tail_merged", "base_merged"],
    "head_phases": ["head_merged"],
    "whole_filters": ["gain_fold", "tail_merged"],
    "mish_rational": ["static_kernels"],  # the branches before it become a convolution, whose result is overwritten
}
"""Passes that only match what others leave."""

APPLIES = {
    "static_kernels": "magic-x2",
    "layer_scale_fold": "release-photo-x2",
    "gain_fold": "release-realtime-x2",
    "norm_affine_fold": "release-pro-x4",
    "prefilter_separable": "release-photo-x2",
    "head_merged": "magic-hr-x3-one-block",
    "blur_last": "magic-x3",
    "tail_polyphase": "magic-hr-x2",
    "tail_merged": "release-stream-x3",
    "base_merged": "rgbgate-stream-x2",
    "borders_apart": "release-realtime-x2",
    "head_phases": "magic-hr-x2-one-block",
    "context_filters": "magic-x2",
    "mish_sigmoid": "v1-pixelshuffle-x2",
    "norm_split": "v1-magic-x2",
    "norm_moments": "v1-magic-x2",
    "context_in_place": "magic-x3",
    "mish_rational": "v1-pixelshuffle-x2",
    "in_place": "release-realtime-x2",
    "row_bands": "v10-stream-x2",
    "whole_filters": "release-realtime-x2",
    "strided_shuffle": "v6-nano-x4",
    "channels_last": "hybrid-gn-x2",
}
"""One case for each pass, where it must find something to do."""


@pytest.mark.parametrize("target", get_args(Target))
@pytest.mark.parametrize("case", CASES)
def test_all_passes_together(case: str, target: Target) -> None:
    network = build(case)
    form = inference_form(network, target=target)
    assert worst_difference(network, form, torch.float64) <= DOUBLE
    assert form.minimum_size <= max(GRAPH_MINIMUM, network.minimum_size)
    single = copy.deepcopy(network).float()
    assert worst_difference(single, inference_form(single, target=target), torch.float32) <= SINGLE


@pytest.mark.parametrize("case", CASES)
def test_no_pass_at_all_is_the_network(case: str) -> None:
    network = build(case)
    form = inference_form(network, passes=[])
    assert form.applied == {}
    assert worst_difference(network, form, torch.float64) <= DOUBLE


@pytest.mark.parametrize("name", [step.name for step in PASSES])
def test_each_pass_alone(name: str) -> None:
    network = build(APPLIES[name])
    form = inference_form(network, passes=[name, *NEEDS.get(name, [])])
    assert form.applied[name] > 0
    assert worst_difference(network, form, torch.float64) <= DOUBLE


@pytest.mark.parametrize("name", [step.name for step in PASSES])
def test_each_pass_can_be_left_out(name: str) -> None:
    network = build(APPLIES[name])
    form = inference_form(network, passes=[step.name for step in PASSES if step.name != name])
    assert name not in form.applied
    assert worst_difference(network, form, torch.float64) <= DOUBLE


def test_the_expected_passes_apply() -> None:
    form = inference_form(build("release-realtime-x2"))
    assert form.applied.keys() == {
        "layer_scale_fold", "gain_fold", "tail_merged", "base_merged", "in_place", "row_bands",
        "whole_filters", "strided_shuffle", "channels_last",
    }  # fmt: skip
    assert "tail_merged" not in inference_form(build("magic-hr-x2")).applied  # its head is not linear


@pytest.mark.parametrize(
    "case", ["magic-x2", "magic-hr-x2-one-block", "release-realtime-x2", "release-stream-x3", "v1-magic-x4"]
)
def test_frames_of_both_kinds_are_exact_on_every_small_size(case: str) -> None:
    network = build(case)
    forms = [inference_form(network, target=target) for target in get_args(Target)]
    for height in range(1, 9):
        for width in range(1, 9):
            image = torch.rand(1, 3, height, width, dtype=torch.float64)
            expected = network(image)
            for form in forms:
                torch.testing.assert_close(form(image), expected, rtol=0, atol=1e-9)


def test_a_blur_that_differs_between_channels_stays_before_the_convolutions() -> None:
    network = build("magic-x2")
    network.get_parameter("magic_upsampler.resample_conv.conv_h.weight").data[3] *= 1.5
    form = inference_form(network)
    assert "blur_last" not in form.applied
    assert form.applied["tail_merged"] == 1
    assert worst_difference(network, form, torch.float64) <= DOUBLE


def test_a_blur_that_is_no_average_is_exact_with_biases() -> None:
    network = build("magic-hr-x2-one-block")
    network.get_parameter("magic_upsampler.resample_conv.conv_v.weight").data *= 1.3
    form = inference_form(network)
    assert form.applied["head_merged"] == 1
    assert worst_difference(network, form, torch.float64) <= DOUBLE


def test_wide_contexts_are_not_filtered_whole() -> None:
    layout, options = CASES["magic-x2"]
    wide = next(item for item in LAYOUTS if item.id == layout).network(**{**options, "num_feat": 32}).eval()
    applied = inference_form(wide.requires_grad_(False)).applied
    assert "context_filters" not in applied
    assert applied["context_in_place"] == 2


def test_mish_from_a_sigmoid_at_the_ends_of_the_range() -> None:
    x = torch.tensor([-1e4, -100.0, -20.0, -1e-3, 0.0, 1e-3, 20.0, 100.0, 1e4])
    torch.testing.assert_close(SigmoidMish()(x), torch.nn.functional.mish(x.double()).float(), rtol=1e-5, atol=3e-6)


def test_a_gate_multiplies_before_mish() -> None:
    left, right = nn.Conv2d(3, 5, 1).double(), nn.Conv2d(3, 5, 3, padding=1).double()
    x = 30 * torch.randn(1, 3, 9, 7, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(MishProduct(left, right)(x), torch.nn.functional.mish(left(x)) * right(x))


@pytest.mark.parametrize("case", CASES)
def test_bands_join_exactly(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "BAND_BYTES", 1)  # as many bands as there can be
    network = build(case)
    form = inference_form(network)
    banded = [module for module in form.modules() if isinstance(module, bands.BandedResidual)]
    assert form.applied.get("row_bands", 0) == len(banded)
    image = torch.rand(1, 3, 67, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = network(image)
    assert ((form(image) - expected).abs().max() / expected.abs().max().clamp(min=1)).item() <= DOUBLE


@pytest.mark.parametrize("case", ["v1-magic-x2", "magic-x2", "release-photo-x2"])
def test_the_network_is_left_alone(case: str) -> None:
    network = build(case)
    before = copy.deepcopy(network.state_dict())
    form = inference_form(network)
    image = torch.rand(1, 3, 9, 9, dtype=torch.float64)
    kept = image.clone()
    form(image)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(image, kept)
    assert not any(parameter.requires_grad for parameter in form.parameters())


def test_a_fused_network_gives_the_same_form() -> None:
    network = build("v1-magic-x2")
    fused = fuse_network(network).network
    image = torch.rand(1, 3, 12, 10, dtype=torch.float64)
    torch.testing.assert_close(inference_form(network)(image), inference_form(fused)(image), rtol=0, atol=1e-12)


def test_a_mean_far_from_zero_does_not_spoil_the_moments() -> None:
    """The variance must not come out as the difference of two large numbers."""
    network = build("v1-pixelshuffle-x2").float()
    conv_in = network.get_submodule("conv_in")
    conv_in.get_parameter("bias").data += 100
    expected = copy.deepcopy(network).double()
    image = torch.rand(1, 3, 24, 24)
    exact = expected(image.double())
    error = (inference_form(network)(image) - exact).abs().max().item()
    before = (network(image) - exact).abs().max().item()
    assert error <= 3 * before


def test_large_activations_do_not_break_mish() -> None:
    network = build("v1-pixelshuffle-x2").float()
    for name, parameter in network.named_parameters():
        if "project_in_g.bias" in name:
            parameter.data += torch.linspace(-200, 200, parameter.numel())
    assert worst_difference(network, inference_form(network), torch.float32) <= SINGLE


def test_video_features_pass_through() -> None:
    network = build("release-realtime-x2")
    form = inference_form(network)
    image, previous = (torch.rand(1, c, 10, 14, dtype=torch.float64) for c in (3, 16))
    expected = network(image, previous, feature_tap=True, blend=0.4)
    found = form(image, previous, feature_tap=True, blend=0.4)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


def test_unknown_passes_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match=r"tail_mergd.*tail_merged"):
        inference_form(build("release-realtime-x2"), passes=["tail_mergd"])


@pytest.mark.parametrize("case", CASES)
def test_the_reference_form_is_the_network(case: str) -> None:
    network = build(case)
    assert worst_difference(network, reference_form(network), torch.float64) <= DOUBLE


@pytest.mark.parametrize("name", NAMES)
def test_golden_outputs(name: str, shared: Path) -> None:
    golden = read(shared / "golden" / f"{name}.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParagonWarning)  # flags that are kept on request
        network = paragon_arch.load(golden.state, tracked="keep", **golden.options).model
    form = inference_form(network)
    assert isinstance(form, InferenceForm)
    for image, expected in golden.pairs():
        with torch.no_grad():
            scale = expected.abs().max().clamp(min=1)
            assert ((form(image) - expected).abs().max() / scale).item() <= SINGLE
