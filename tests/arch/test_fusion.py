"""Fusing: a new object, proved equal, or a refusal."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

import paragon_arch
from paragon_arch.errors import FusionError, InvalidOptionError
from paragon_arch.fusion import fuse_network
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.dynamic import TrackedTransformer
from paragon_arch.networks.layers import LayerScale
from paragon_arch.networks.reparam import ReparamDepthwise
from paragon_arch.networks.v1 import ParagonSR
from paragon_arch.networks.v2_magic import ParagonSR2Magic
from paragon_arch.networks.v2_release import ParagonSR2Release


def shaken(network: SRNetwork) -> None:
    """Give every parameter a say: at its initial 1e-5, LayerScale would hide any mistake."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, LayerScale):
                module.gamma.uniform_(0.3, 1.0)


def first_generation() -> ParagonSR:
    torch.manual_seed(0)
    network = ParagonSR(scale=2, num_feat=8, num_groups=1, num_blocks=2, hidden=12, branch=1, band=7).eval()
    shaken(network)
    return network


def dynamic(*, tracked: bool) -> ParagonSR2Magic:
    torch.manual_seed(0)
    network = ParagonSR2Magic(scale=2, num_feat=8, num_groups=1, num_blocks=2, hidden=12, branch=1, band=7)
    shaken(network)
    if tracked:
        network.train()
        with torch.no_grad():
            network(torch.rand(2, 3, 12, 12))
    return network.eval()


def test_fusing_leaves_the_original_alone() -> None:
    network = first_generation()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fused = paragon_arch.fuse(network)
    assert fused is not network
    assert not network.fused
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(isinstance(module, ReparamDepthwise) for module in fused.modules())


@pytest.mark.parametrize("network", [first_generation(), dynamic(tracked=True)], ids=["v1-pixelshuffle", "v2-magic"])
def test_fused_outputs_are_equal_on_many_sizes(network: SRNetwork) -> None:
    fused = fuse_network(network).network
    for height, width in ((8, 8), (1, 31), (37, 13), (64, 48)):
        image = torch.rand(1, 3, height, width)
        with torch.no_grad():
            assert (network(image) - fused(image)).abs().max().item() <= 1e-5


def test_fusing_twice_and_fusing_what_has_nothing_to_fuse_say_so(caplog: pytest.LogCaptureFixture) -> None:
    fused = fuse_network(first_generation()).network
    again = fuse_network(fused)
    assert not again.changed
    assert "already" in again.message
    release = ParagonSR2Release(scale=2, variant="realtime", num_feat=16, num_groups=1, num_blocks=1)
    assert "nothing to fuse" in fuse_network(release).message
    with caplog.at_level(logging.INFO, "paragonsr"):
        paragon_arch.fuse(fused)
    assert "already" in caplog.text


def test_untracked_kernels_are_only_fused_on_request() -> None:
    network = dynamic(tracked=False)
    with pytest.raises(FusionError, match="never tracked"):
        fuse_network(network)
    fused = fuse_network(network, accept_identity=True).network
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(image), fused(image))


def test_a_wrong_fusion_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    merged = ReparamDepthwise.merged

    def forgetful(self: ReparamDepthwise) -> nn.Conv2d:
        layer = merged(self)
        with torch.no_grad():
            layer.weight -= self.dw_conv3x3.weight
        return layer

    monkeypatch.setattr(ReparamDepthwise, "merged", forgetful)
    with pytest.raises(FusionError, match="differs"):
        fuse_network(first_generation())


def test_training_keys_that_survive_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def idle(self: TrackedTransformer) -> None:
        del self

    monkeypatch.setattr(TrackedTransformer, "make_static", idle)
    with pytest.raises(FusionError, match="kernel_generator"):
        fuse_network(dynamic(tracked=True))


def test_nan_weights_do_not_pass_the_check() -> None:
    network = first_generation()
    with torch.no_grad():
        network.conv_in.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(FusionError):
        fuse_network(network)


def test_foreign_modules_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="Conv2d"):
        paragon_arch.fuse(nn.Conv2d(3, 3, 1))


def test_evaluation_follows_the_weights_of_an_ema_copy() -> None:
    """Nothing of the merged kernel is kept, so weights that are changed in place change the output."""
    network = first_generation()
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = network(image)
        for parameter in network.parameters():
            parameter.mul_(0.9)
        after = network(image)
        fresh = first_generation()
        fresh.load_state_dict(network.state_dict())
        assert not torch.equal(before, after)
        assert torch.equal(after, fresh(image))


def test_training_tracks_the_mean_kernel() -> None:
    network = dynamic(tracked=False).train()
    module = next(module for module in network.modules() if isinstance(module, TrackedTransformer))
    first = torch.ones_like(module.tracked_kernel)
    module.track(first)
    assert bool(module.tracked_initialized)
    assert torch.equal(module.tracked_kernel, first)
    module.track(torch.zeros_like(first))
    assert torch.allclose(module.tracked_kernel, first * 0.95)
