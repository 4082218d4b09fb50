"""Losses: zero for equal images, larger for worse ones, finite gradients, and values known from elsewhere."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn

from paragon_arch.errors import InvalidOptionError, ParagonError
from paragon_arch.networks.munet import MUNet
from training.config import GAN_LOSSES, LOSS_NAMES
from training.data.pairs import to_tensor
from training.data.pictures import synthetic_image
from training.losses import PLAIN, PRETRAINED, Losses, perceptual
from training.losses.adversarial import critic_loss, generator_loss, gradient_penalty
from training.losses.colour import hsluv, hsluv_loss, oklab_chroma
from training.losses.frequency import fft_loss
from training.losses.pixel import bounded_charbonnier
from training.losses.structure import ms_ssim_loss

SIDE = 192
TARGET = to_tensor(synthetic_image(256, 0)[None, :SIDE, :SIDE])
CPU = torch.device("cpu")


def noisy(sigma: float) -> Tensor:
    return (TARGET + sigma * torch.randn(TARGET.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def test_every_name_of_a_recipe_has_a_loss() -> None:
    assert {*PLAIN, *PRETRAINED} == set(LOSS_NAMES)


@pytest.mark.parametrize("name", sorted(set(PLAIN) - {"tv"}))
def test_plain_losses_vanish_for_equal_images_and_grow(name: str) -> None:
    loss = PLAIN[name]
    same, near, far = (loss(image, TARGET).item() for image in (TARGET, noisy(0.02), noisy(0.1)))
    assert same == pytest.approx(0, abs=1.1e-3)  # Charbonnier's eps
    assert same < near < far


@pytest.mark.parametrize("name", sorted(PLAIN))
@pytest.mark.parametrize("kind", ["noisy", "equal", "black", "out of range"])
def test_gradients_are_finite_and_there(name: str, kind: str) -> None:
    images = {"noisy": noisy(0.05), "equal": TARGET, "black": 0 * TARGET, "out of range": 3 * TARGET - 1}
    output = images[kind].clone().requires_grad_()
    PLAIN[name](output, TARGET).backward()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
    if kind == "noisy":
        assert output.grad.abs().max() > 0


def test_an_exploded_picture_counts_by_its_logarithm() -> None:
    output = torch.cat([noisy(0.02), noisy(0.02)])
    plain = bounded_charbonnier(output, torch.cat([TARGET, TARGET]))
    assert plain.item() == pytest.approx(PLAIN["charbonnier"](noisy(0.02), TARGET).item())
    output[1] *= 1e6
    output.requires_grad_()
    exploded = bounded_charbonnier(output, torch.cat([TARGET, TARGET]))
    assert exploded.item() < 1
    exploded.backward()
    assert output.grad is not None
    assert 0 < output.grad[1].norm() < output.grad[0].norm()


def test_losses_are_weighted_and_named() -> None:
    terms = Losses({"l1": 2.0, "mse": 0.5}, CPU)(noisy(0.1), TARGET, TARGET)
    difference = noisy(0.1) - TARGET
    assert terms["l1"].item() == pytest.approx(2 * difference.abs().mean().item())
    assert terms["mse"].item() == pytest.approx(0.5 * difference.square().mean().item())


def test_ms_ssim_refuses_small_patches() -> None:
    with pytest.raises(InvalidOptionError, match="patch >= 176"):
        ms_ssim_loss(TARGET[..., :100, :100], TARGET[..., :100, :100])


def test_fft_loss_of_a_constant_offset() -> None:
    x = torch.zeros(1, 1, 8, 8)
    assert fft_loss(x + 0.5, x).item() == pytest.approx(0.5 * 64 / (8 * 5 * 2))  # only the zero frequency differs


@pytest.mark.parametrize(
    ("rgb", "expected"),  # values of the published HSLuv test set: degrees, per cent, per cent
    [
        ((1.0, 0.0, 0.0), (12.177, 100.0, 53.237)),
        ((0.0, 1.0, 0.0), (127.715, 100.0, 87.736)),
        ((0.0, 0.0, 1.0), (265.874, 100.0, 32.301)),
        ((0.5, 0.5, 0.5), (0.0, 0.0, 53.389)),
    ],
)
def test_hsluv_of_known_colours(rgb: tuple[float, ...], expected: tuple[float, ...]) -> None:
    hue, saturation, light = (x.item() for x in hsluv(torch.tensor(rgb).reshape(1, 3, 1, 1)))
    assert (360 * hue, 100 * saturation, 100 * light) == pytest.approx(expected, abs=0.1)


def flat(hue: float, light: float = 0.5) -> Tensor:
    return torch.tensor(colorsys.hls_to_rgb(hue, light, 0.9)).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)


def test_hue_is_a_circle_and_does_not_exist_in_greys() -> None:
    assert hsluv_loss(flat(0.98), flat(0.02)) < 0.5 * hsluv_loss(flat(0.3), flat(0.0))
    grey = torch.full((1, 3, 4, 4), 0.5)
    red, blue = (grey + 0.004 * torch.tensor(v).reshape(1, 3, 1, 1) for v in ((1.0, 0, -1), (-1.0, 0, 1)))
    assert hsluv_loss(red, blue) < 0.01


def test_oklab_of_grey_has_no_chroma_and_of_red_the_known_one() -> None:
    assert oklab_chroma(torch.full((1, 3, 2, 2), 0.4)).abs().max() < 1e-3
    red = oklab_chroma(torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)).flatten()
    assert (red[0].item(), red[1].item()) == pytest.approx((0.2249, 0.1258), abs=1e-3)


@pytest.mark.parametrize("build", [perceptual.vgg_loss, perceptual.convnext_loss])
def test_feature_losses_give_gradients_to_the_output_alone(build: Callable[..., nn.Module]) -> None:
    loss = build(pretrained=False)  # the weights' values do not matter here, and tests download nothing
    target = TARGET[..., :64, :64]
    assert loss(target, target).item() < 0.01
    output = noisy(0.1)[..., :64, :64].clone().requires_grad_()
    value = loss(output, target)
    value.backward()
    assert value.item() > loss(target, target).item()
    assert output.grad is not None
    assert 0 < output.grad.abs().max() < math.inf
    assert all(parameter.grad is None for parameter in loss.parameters())


def tiny_encoder(images: Tensor) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


def test_contrast_prefers_the_target_to_the_enlarged_input() -> None:
    loss = perceptual.ContrastiveClip(tiny_encoder)
    low = torch.nn.functional.avg_pool2d(TARGET.flip(1), 2)  # wrong colours, so that its embedding differs
    enlarged = torch.nn.functional.interpolate(low, scale_factor=2.0)
    assert loss(TARGET, TARGET, low) < loss(enlarged, TARGET, low)
    output = enlarged.clone().requires_grad_()
    loss(output, TARGET, low).backward()
    assert output.grad is not None
    assert output.grad.abs().max() > 0


@pytest.mark.parametrize("cause", [URLError("no route"), ImportError("no module"), RuntimeError("invalid hash")])
def test_what_cannot_be_had_is_one_message(cause: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> nn.Module:
        raise cause

    monkeypatch.setitem(PRETRAINED, "vgg", fail)
    with pytest.raises(ParagonError, match="the loss vgg needs"):
        Losses({"vgg": 1.0}, CPU)


@pytest.mark.parametrize("kind", GAN_LOSSES)
def test_adversarial_losses_reward_the_right_side(kind: str) -> None:
    low, high = torch.full((2, 1, 4, 4), -0.5), torch.full((2, 1, 4, 4), 0.5)
    assert critic_loss(kind, high, low) < critic_loss(kind, low, high)
    assert generator_loss(kind, high, high) < generator_loss(kind, high, low)


def test_relativistic_losses_by_hand() -> None:
    real, fake = torch.tensor([0.4]), torch.tensor([0.1])
    assert critic_loss("r3gan", real, fake).item() == pytest.approx(0.5 * (0.7 + 0.7))
    assert generator_loss("r3gan", real, fake).item() == pytest.approx(0.5 * (1.3 + 1.3))


def test_gradient_penalty_of_a_linear_critic_is_its_squared_slope() -> None:
    layer = nn.Conv2d(3, 1, 1)
    penalty = gradient_penalty(layer, torch.rand(2, 3, 5, 4))
    assert penalty.item() == pytest.approx(20 * layer.weight.square().sum().item(), rel=1e-4)
    penalty.backward()
    assert layer.weight.grad is not None


def test_gradient_penalty_reaches_munet() -> None:
    critic = MUNet(num_feat=4, ch_mult=(1, 2))
    gradient_penalty(critic, torch.rand(1, 3, 16, 16)).backward()
    gradients = [p.grad for p in critic.parameters() if p.requires_grad and p.grad is not None]
    assert any(g.abs().max() > 0 for g in gradients)
    assert all(torch.isfinite(g).all() for g in gradients)
