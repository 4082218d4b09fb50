"""Networks traced on a tiny image, as foreign exporters do, and run on others."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from paragon_arch.model import size_needs
from paragon_arch.networks import static_block, v2_dualpath_blocks
from paragon_arch.networks.static_block import SpatialAttention
from paragon_arch.networks.v2_atd import CategoryAttention, ParagonSR2ATD
from paragon_arch.networks.v2_dualpath_blocks import ConvWindowAttention
from paragon_arch.spandrel_support import ARCHITECTURES
from tests.engine.exact_models import NETWORKS, build

SIZES = ((24, 40), (33, 71), (48, 32))
"""None of them is traced."""


def traced(network: nn.Module, side: int) -> Callable[[Tensor], Tensor]:
    """What torch.jit.trace makes of one square image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every comparison of sizes
        return torch.jit.trace(network, torch.rand(1, 3, side, side), check_trace=False)  # pyright: ignore


def worst(network: nn.Module, function: Callable[[Tensor], Tensor]) -> float:
    """Largest difference at `SIZES`."""
    differences: list[float] = []
    with torch.inference_mode():
        for height, width in SIZES:
            x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
            differences.append(float((function(x) - network(x)).abs().max()))
    return max(differences)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "v2-ultimate"])  # which takes a minute
def test_a_trace_of_a_tiny_image_is_right_at_every_size(name: str) -> None:
    network = build(name)
    side = 3 + size_needs(network).get_padding(3, 3)[0]  # as chaiNNer chooses it
    assert worst(network, traced(network, side)) < 1e-4


def pro(*, stable: bool) -> ParagonSR2ATD:
    torch.manual_seed(0)
    network = (
        ParagonSR2ATD(scale=2, num_feat=16, num_groups=1, num_blocks=2, window_size=8).eval().requires_grad_(False)
    )
    for module in network.modules():
        if isinstance(module, CategoryAttention):
            module.stable = stable
    return network


def test_sorted_pixels_are_refused_by_name_unless_their_order_is_fixed() -> None:
    with pytest.raises(NotImplementedError, match=r"atd's pro sorts its pixels.*Export ONNX \(ParagonSR\)"):
        traced(pro(stable=False), 16)
    network = pro(stable=True)
    assert worst(network, traced(network, 16)) < 1e-4


@pytest.mark.parametrize("size", [(37, 52), (2, 33), (3, 3), (40, 41), (57, 24)])
@pytest.mark.parametrize("mode", ["global", "window"])
def test_overlapping_windows_follow_the_size(size: tuple[int, int], mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = SpatialAttention(16, mode=mode).requires_grad_(False)  # pyright: ignore[reportArgumentType]
    attention.gamma.fill_(1)
    x = torch.rand(2, 16, *size)
    expected = attention(x)
    monkeypatch.setattr(static_block, "is_traced", lambda: True)
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["overlap", "windows"])
def test_everything_is_made_on_the_device_of_the_image(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for tensors of a GPU refuses to mix devices."""
    module: nn.Module = (
        ConvWindowAttention(16, window=8, shift=4) if kind == "windows" else SpatialAttention(16, mode="window")
    )
    for place in (static_block, v2_dualpath_blocks):
        monkeypatch.setattr(place, "is_traced", lambda: True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        module = module.to("cuda")
        assert module(torch.empty(1, 16, 40, 37, device="cuda")).device.type == "cuda"


def test_a_network_that_averages_over_the_picture_gets_it_as_it_is() -> None:
    """So that the descriptor, the network and its graph agree; others may be padded to whole windows."""
    for name in NETWORKS:
        network = build(name)
        needs = size_needs(network)
        if network.traits.global_statistics:
            assert needs.multiple_of == 1, name
        assert needs.minimum >= network.minimum_size
    assert {name for name in NETWORKS if size_needs(build(name)).multiple_of > 1} == {"v2-release-photo"}
    assert len(ARCHITECTURES) > 20
