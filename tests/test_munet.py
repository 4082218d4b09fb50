"""The MUNet discriminators: golden outputs, gradient penalties, detection and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from paragon_arch.errors import StateMismatchError, UnsupportedLayoutError
from paragon_arch.layouts.munet import detect_munet, load_munet, munet_hyperparameters, refuse_munet
from paragon_arch.networks.munet import MUNet, MUNet3Branch, MUNet4Branch

FILES = ("munet-unet_f8_b2", "munet-3branch_f8", "munet-4branch_f8_b2")
GRADIENT_FILES = ("munet-unet_f8_b2", "munet-4branch_f8_b2")
PARAMETERS = {MUNet: 10_769_217, MUNet4Branch: 11_295_462}
KEYS = {MUNet: 64, MUNet3Branch: 88, MUNet4Branch: 113}


class Golden:
    """One golden file: state dict and recorded tensors."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
            self.metadata: dict[str, str] = file.metadata()
        self.tensors = load_file(path)
        self.state = {key[6:]: value for key, value in self.tensors.items() if key.startswith("state.")}

    def net(self) -> MUNet:
        return load_munet(self.state, compat_batch_shift=True)


Open = Callable[[str], Golden]


@pytest.fixture
def opened(shared: Path) -> Open:
    """Opens a golden file by name."""
    return lambda name: Golden(shared / "golden" / f"{name}.safetensors")


def check(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", FILES)
def test_eval_outputs(opened: Open, name: str) -> None:
    golden = opened(name)
    net = golden.net()
    suffixes = [s for s in ("", "2", "3") if "input" + s in golden.tensors]
    with torch.no_grad():
        for suffix in suffixes:
            check(net(golden.tensors["input" + suffix]), golden.tensors["output" + suffix])


@pytest.mark.parametrize("name", FILES)
def test_train_mode_refines_the_singular_vectors_once(opened: Open, name: str) -> None:
    golden = opened(name)
    net = golden.net().train()
    with torch.no_grad():
        check(net(golden.tensors["input"]), golden.tensors["output_train_mode"])
    moved = [key for key, value in net.state_dict().items() if not torch.equal(value, golden.state[key])]
    assert moved
    assert all(key.endswith(("._u", "._v")) for key in moved)


def test_features(opened: Open) -> None:
    golden = opened("munet-3branch_f8")
    with torch.no_grad():
        features = golden.net().features(golden.tensors["input"])
    assert len(features) == sum(key.startswith("feature.") for key in golden.tensors)
    for index, feature in enumerate(features):
        check(feature, golden.tensors[f"feature.{index}"])


def gradient_penalty(net: MUNet, images: Tensor) -> Tensor:
    """Weight 3 times the mean squared norm of the input gradient of the summed logits."""
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(images).sum(), images, create_graph=True)
    return 3 * gradient.square().sum(dim=(1, 2, 3)).mean()


@pytest.mark.parametrize("name", GRADIENT_FILES)
def test_relativistic_hinge_and_gradient_penalties(opened: Open, name: str) -> None:
    golden = opened(name)
    values = {key[6:]: value for key, value in golden.tensors.items() if key.startswith("r3gan.")}
    net = golden.net()
    real, fake = net(values["real"]), net(values["fake"])
    check(real, values["real_output"])
    check(fake, values["fake_output"])
    penalties = [gradient_penalty(net, values[kind]) for kind in ("real", "fake")]
    for penalty, key in zip(penalties, ("r1_penalty", "r2_penalty"), strict=True):
        torch.testing.assert_close(penalty, values[key], atol=0, rtol=1e-4)
    centred_real, centred_fake = real - fake.mean(), fake - real.mean()
    adversarial = (torch.relu(1 - centred_real).mean() + torch.relu(1 + centred_fake).mean()) / 2
    d_loss = adversarial + sum(penalties) / 2
    g_loss = (torch.relu(1 + centred_real).mean() + torch.relu(1 - centred_fake).mean()) / 2
    torch.testing.assert_close(d_loss, values["d_loss"], atol=0, rtol=1e-4)
    check(g_loss, values["g_loss"])


@pytest.mark.parametrize("name", GRADIENT_FILES)
def test_penalties_are_differentiable_in_every_weight(opened: Open, name: str) -> None:
    golden = opened(name)
    net = golden.net()
    gradient_penalty(net, golden.tensors["r3gan.real"]).backward()
    weights = {n: p for n, p in net.named_parameters() if n.endswith(".original")}
    assert len(weights) > 10
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights.values())


def test_samples_are_independent_unless_asked_for_the_original_batch_shift(opened: Open) -> None:
    golden = opened("munet-4branch_f8_b2")
    images = golden.tensors["input3"]
    with torch.no_grad():
        net = load_munet(golden.state)
        alone = torch.cat([net(image[None]) for image in images])
        check(net(images), alone)
        assert (golden.net()(images) - alone).abs().max() > 1e-3


@pytest.mark.parametrize("name", FILES)
def test_detection_and_hyperparameters(opened: Open, name: str) -> None:
    golden = opened(name)
    assert detect_munet(golden.state) == golden.metadata["layout"]
    hyper = munet_hyperparameters(golden.state)
    assert hyper["num_feat"] == json.loads(golden.metadata["kwargs"])["num_feat"]
    assert hyper["ch_mult"] == (1, 2, 4, 8)
    with pytest.raises(UnsupportedLayoutError, match=rf"MUNet discriminator \({golden.metadata['layout']}\)"):
        refuse_munet(golden.state)


@pytest.mark.parametrize("kind", KEYS)
def test_parameter_counts_at_the_official_width(kind: type[MUNet]) -> None:
    net = kind()
    assert len(net.state_dict()) == KEYS[kind]
    if kind in PARAMETERS:
        assert sum(p.numel() for p in net.parameters()) == PARAMETERS[kind]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("ch_mult", [(2,), (1, 3), (1, 2, 2, 4, 4)])
def test_any_depth_survives_saving_and_loading(kind: type[MUNet], ch_mult: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = kind(num_feat=4, ch_mult=ch_mult).eval()
    images = torch.rand(1, 3, 2 ** len(ch_mult) + 3, 45)
    again = load_munet(net.state_dict())
    with torch.no_grad():
        logits = net(images)
        assert logits.shape == (1, 1, *images.shape[2:])
        assert torch.equal(again(images), logits)


def test_a_new_network_has_the_true_kernels_frozen() -> None:
    net = MUNet4Branch(num_feat=4, ch_mult=(1,))
    kernels = {n: p for n, p in net.named_parameters() if ".magic_upsample." in n}
    assert len(kernels) == 4
    assert not any(p.requires_grad for p in kernels.values())
    for kernel in kernels.values():
        torch.testing.assert_close(kernel.sum(dim=(1, 2, 3)), torch.ones(len(kernel)))


def small_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(MUNet(num_feat=4, ch_mult=(1, 2)).state_dict())


def test_broken_states_name_their_fault() -> None:
    missing = small_state()
    del missing["in_conv.bias"]
    with pytest.raises(StateMismatchError, match=r"missing in_conv\.bias"):
        load_munet(missing)
    with pytest.raises(StateMismatchError, match="unexpected stranger"):
        load_munet({**small_state(), "stranger": torch.zeros(1)})
    with pytest.raises(StateMismatchError, match=r"misshapen in_conv\.bias \(3,\) instead of \(4,\)"):
        load_munet({**small_state(), "in_conv.bias": torch.zeros(3)})
    odd = "down_blocks.1.0.parametrizations.weight.original"
    with pytest.raises(StateMismatchError, match="not multiples"):
        load_munet({**small_state(), odd: torch.zeros(7, 4, 4, 4)})


def test_a_huge_width_is_refused_before_memory_is_taken() -> None:
    state = small_state()
    state["out_conv.parametrizations.weight.original"] = torch.zeros(1, 1).expand(1, 2**20)
    state["down_blocks.0.0.parametrizations.weight.original"] = torch.zeros(1).expand(2**20)
    state["down_blocks.1.0.parametrizations.weight.original"] = torch.zeros(1).expand(2**20)
    with pytest.raises(StateMismatchError, match=r"mid_conv\.0.* call for \(1048576, 1048576, 3, 3\)"):
        load_munet(state)


def test_other_states_are_refused() -> None:
    assert detect_munet({"conv_in.weight": torch.zeros(1)}) is None
    refuse_munet({"conv_in.weight": torch.zeros(1)})
    with pytest.raises(UnsupportedLayoutError, match="not a MUNet"):
        load_munet({"conv_in.weight": torch.zeros(1)})
    early = dict(MUNet4Branch(num_feat=4, ch_mult=(1,)).state_dict())
    early["freq_luma.weight"] = torch.zeros(1, 3, 1, 1)
    with pytest.raises(UnsupportedLayoutError, match="2025-11-25"):
        load_munet(early)
