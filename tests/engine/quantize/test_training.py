"""Fake quantisation: what it computes, how it is stored, what training with it gains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spandrel
import torch
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

import paragon_arch
from paragon_arch.dead_leaves import dead_leaves
from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.base import SRNetwork
from paragon_engine.metrics import psnr_y
from paragon_engine.quantize import (
    FineTuning,
    QuantizationOptions,
    calibrate_fake_quantization,
    fine_tune,
    freeze_ranges,
    prepare_qat,
    quantize,
    save_qat,
    stored_ranges,
)
from paragon_engine.quantize.fake import FakeQuantConv2d, enable, fakes, round_activation, round_weight
from paragon_engine.quantize.loss import runner
from paragon_engine.quantize.pictures import pairs, to_image
from paragon_engine.quantize.source import same_up_to_gain
from training.config import ModelConfig
from training.export import export
from training.network import build


@pytest.fixture(scope="module")
def leaves() -> Tensor:
    return torch.cat([dead_leaves(48, seed) for seed in range(4)])


@pytest.fixture
def network(model: Path, leaves: Tensor) -> SRNetwork:
    """The shipped model with calibrated fake quantisation."""
    network = paragon_arch.load(model).model
    prepare_qat(network)
    calibrate_fake_quantization(network, [leaves])
    return network


def test_activations_have_256_levels_and_an_exact_zero() -> None:
    x = torch.linspace(-0.7, 2.1, 5001)
    rounded = round_activation(x, torch.tensor([-0.5, 2.0]))
    assert np.unique(rounded.numpy()).size == 256
    assert float(round_activation(torch.zeros(1), torch.tensor([-0.5, 2.0]))) == 0
    assert rounded.min() >= -0.51
    assert rounded.max() <= 2.01
    inside = x.clamp(-0.5, 2.0)
    assert float((round_activation(inside, torch.tensor([-0.5, 2.0])) - inside).abs().max()) <= 2.5 / 255


def test_weights_have_7_bits_by_filter() -> None:
    weight = torch.randn(4, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    rounded = round_weight(weight)
    step = weight.abs().amax(dim=(1, 2, 3)) / 64
    assert float(((rounded - weight).abs().amax(dim=(1, 2, 3)) / step).max()) <= 0.501
    assert max(np.unique(rounded[index].numpy()).size for index in range(4)) <= 129


def test_gradients_pass_through_rounding(network: SRNetwork, leaves: Tensor) -> None:
    network.requires_grad_(True)
    network(leaves).mean().backward()
    assert all(float(layer.weight.grad.abs().sum()) > 0 for layer in fakes(network) if layer.weight.grad is not None)
    assert all(layer.weight.grad is not None for layer in fakes(network))


def test_ranges_follow_training_until_frozen(network: SRNetwork, leaves: Tensor) -> None:
    before = [layer.input_range.clone() for layer in fakes(network)]
    network.train()(3 * leaves)
    moved = [layer.input_range.clone() for layer in fakes(network)]
    assert all(not torch.equal(a, b) for a, b in zip(before, moved, strict=True))
    freeze_ranges(network)
    network(5 * leaves)
    assert all(torch.equal(layer.input_range, kept) for layer, kept in zip(fakes(network), moved, strict=True))


def test_switched_off_it_is_the_network_it_was(network: SRNetwork, model: Path, leaves: Tensor) -> None:
    expected = paragon_arch.load(model).model(leaves)
    assert not torch.equal(network(leaves), expected)
    enable(fakes(network), False)
    assert torch.equal(network(leaves), expected)


def test_checkpoint_loads_everywhere_and_brings_its_ranges(network: SRNetwork, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "2x_qat.safetensors"
    save_qat(network, file)
    ranges = stored_ranges(file)
    assert set(ranges) == {layer.origin for layer in fakes(network)}
    original, loaded = paragon_arch.load(model).model.state_dict(), paragon_arch.load(file).model.state_dict()
    assert all(torch.equal(loaded[key], original[key]) for key in original)
    assert paragon_arch.inspect(file).layout == "v2-release"
    paragon_arch.register()
    found = spandrel.ModelLoader().load_from_state_dict(load_file(file))
    assert found.architecture.id == "ParagonSR2-v2-release"
    assert stored_ranges(model) == {}


def test_training_can_go_on_from_a_checkpoint(network: SRNetwork, model: Path, tmp_path: Path, leaves: Tensor) -> None:
    file = tmp_path / "2x_qat.safetensors"
    save_qat(network, file)
    again = paragon_arch.load(file).model
    prepare_qat(again, ranges=stored_ranges(file))
    assert torch.equal(again(leaves), network(leaves))


def test_damaged_ranges_are_refused(network: SRNetwork, tmp_path: Path) -> None:
    file = tmp_path / "2x_qat.safetensors"
    save_qat(network, file)
    tensors = load_file(file)
    key = next(key for key in tensors if key.startswith("paragonsr_quant."))
    tensors[key] = torch.tensor([1.0, -1.0])
    save_file(tensors, file)
    with pytest.raises(InvalidOptionError, match="rising"):
        stored_ranges(file)


def test_export_needs_no_calibration_and_computes_what_training_simulated(
    model: Path, pictures: Path, quick: QuantizationOptions, tmp_path: Path, leaves: Tensor
) -> None:
    network = paragon_arch.load(model).model
    prepare_qat(network, only=("conv_mid",))
    calibrate_fake_quantization(network, [leaves])
    file, out = tmp_path / "2x_qat.safetensors", tmp_path / "int8.onnx"
    save_qat(network, file)
    report = quantize(file, pictures, out, options=quick)
    assert report.method == "checkpoint"
    assert [(layer.name, layer.precision) for layer in report.layers] == [("deep.1", "int8")]
    with torch.inference_mode():
        expected = network(leaves[:1]).numpy()
        enable(fakes(network), False)
        plain = network(leaves[:1]).numpy()
    found = runner(out.read_bytes())(leaves[:1].numpy())
    assert np.abs(found - expected).mean() < 0.01 * np.abs(plain - expected).mean()


def test_a_checkpoint_of_the_training_package_is_exported_without_calibrating(
    model: Path, pictures: Path, quick: QuantizationOptions, tmp_path: Path, leaves: Tensor
) -> None:
    config = ModelConfig(layout="v2-release", variant="realtime", scale=2, start=str(model), qat=True)
    network = build(config, seed=0).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    (network(leaves) - torch.nn.functional.interpolate(leaves, scale_factor=2)).abs().mean().backward()
    optimiser.step()
    export(network.eval(), tmp_path / "2x_qat.safetensors", overwrite=False)
    report = quantize(tmp_path / "2x_qat.safetensors", pictures, tmp_path / "int8.onnx", options=quick)
    assert report.method == "checkpoint"
    assert report.calibration["crops"] == 0
    assert {"int8"} <= {layer.precision for layer in report.layers}


def test_training_shrinks_the_loss_of_the_shipped_model(model: Path, pictures: Path) -> None:
    network, paths = paragon_arch.load(model).model, sorted(pictures.iterdir())
    settings = FineTuning(steps=40, batch=4, side=32, patches=24, lr=5e-4, clip=1.0)
    fp32 = _psnr(network, paths[0])
    calibrated = _psnr(fine_tune(network, paths[1:], _nothing(settings)), paths[0])
    trained = _psnr(fine_tune(network, paths[1:], settings), paths[0])
    assert calibrated < fp32
    assert fp32 - trained < fp32 - calibrated


def test_training_rescues_a_model_that_calibration_cannot(shared: Path, pictures: Path) -> None:
    network = paragon_arch.load(shared / "checkpoints" / "2xParagonSR2_Nano_Pretrain.safetensors").model
    paths = sorted(pictures.iterdir())
    settings = FineTuning(steps=30, batch=2, side=32, patches=16, lr=5e-4)
    calibrated = _psnr(fine_tune(network, paths[1:], _nothing(settings)), paths[0])
    trained = _psnr(fine_tune(network, paths[1:], settings), paths[0])
    assert calibrated < _psnr(network, paths[0]) - 10
    assert trained > calibrated + 3


def _nothing(settings: FineTuning) -> FineTuning:
    """Only calibrates."""
    return replace(settings, steps=1, batch=1, lr=1e-12)


def _psnr(network: SRNetwork, path: Path) -> float:
    """Against the ground truth, on an unseen picture."""
    (pair,) = pairs([path], scale=2, channels=3, side=48)
    with torch.inference_mode():
        return psnr_y(to_image(network(torch.from_numpy(pair.low)).numpy()), pair.high, border=2)


def test_unfused_networks_are_refused(shared: Path) -> None:
    model = paragon_arch.load(shared / "checkpoints" / "2xParagonSR2_Nano_Pretrain.safetensors")
    with pytest.raises(InvalidOptionError, match="fuse it first"):
        prepare_qat(model.model)
    with pytest.raises(InvalidOptionError, match="no such convolution"):
        prepare_qat(paragon_arch.fuse(model).model, only=("nonsense",))


def test_only_gains_leave_the_input_alone() -> None:
    weight = torch.randn(4, 3, 1, 1)
    assert same_up_to_gain(weight, weight * torch.tensor([1.0, -2.0, 0.5, 3.0]).view(-1, 1, 1, 1))
    assert not same_up_to_gain(weight, weight * torch.tensor([1.0, 2.0, 3.0]).view(1, -1, 1, 1))
    assert not same_up_to_gain(weight, torch.randn(4, 4, 1, 1))


def test_it_takes_a_convolution_s_place() -> None:
    conv = nn.Conv2d(4, 8, (1, 5), padding=(0, 2), stride=(1, 2), bias=False).eval()
    fake = FakeQuantConv2d.of(conv, "name")
    x = torch.rand(1, 4, 6, 9)
    assert torch.equal(fake(x), conv(x))
    assert fake.weight is conv.weight
    assert list(fake.state_dict()) == ["weight"]
