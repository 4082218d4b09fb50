"""Quirks and receptive fields of the dual-path, hybrid and static networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from paragon_arch.layouts import LAYOUTS
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.static_block import SpatialAttention, window_spans
from paragon_arch.networks.v2_dualpath import ParagonSR2DualPath
from paragon_arch.networks.v2_static import ParagonSR2Static

BY_ID = {layout.id: layout for layout in LAYOUTS}


def official(layout: str, name: str, scale: int) -> SRNetwork:
    """An official variant with its default options and random weights of ordinary size."""
    record = BY_ID[layout]
    variant = next(variant for variant in record.variants if variant.name == name)
    shape = dict(variant.shape)
    options = {u.name: record.default(u, shape) for u in record.unknowns if u.name != "scale" and u.applies(shape)}
    torch.manual_seed(1)
    network = record.network(**{**shape, **options, "scale": scale})
    for parameter_name, parameter in network.named_parameters():
        if parameter_name.endswith("gamma"):
            nn.init.ones_(parameter)
    return network.eval()


def measured_radius(network: SRNetwork, size: int) -> int:
    """Farthest input pixel that the output cell of the centre pixel depends on, by back-propagation in float64."""
    network = network.double().requires_grad_(False)
    image = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    centre, scale = size // 2, network.scale
    cell = slice(centre * scale, (centre + 1) * scale)
    output = network(image)
    weights = torch.rand_like(output[..., cell, cell])
    (output[..., cell, cell] * weights).sum().backward()
    assert image.grad is not None
    touched = image.grad.abs().amax(dim=(0, 1)).nonzero()
    return int((touched - centre).abs().max())


RADII = [
    ("v2-dualpath-rgbgate", "realtime", 2, 7),
    ("v2-dualpath-rgbgate", "stream", 4, 16),
    ("v2-dualpath-v6", "realtime", 3, 7),
    ("v2-dualpath-v6", "realtime", 8, 8),
    ("v2-dualpath-v6", "stream", 2, 20),
    ("v2-dualpath-v6", "stream", 4, 21),
    ("v2-dualpath-v7", "realtime", 2, 10),
    ("v2-dualpath-v7", "stream", 2, 26),
    ("v2-dualpath-v8", "realtime", 2, 10),
    ("v2-dualpath-v8", "stream", 2, 80),
    ("v2-hybrid-gn", "nano", 2, 8),
    ("v2-hybrid-dense", "nano", 2, 8),
]


@pytest.mark.parametrize(("layout", "name", "scale", "radius"), RADII)
def test_receptive_field_of_convolutional_variants(layout: str, name: str, scale: int, radius: int) -> None:
    network = official(layout, name, scale)
    assert network.receptive_field() == radius
    assert measured_radius(network, 2 * radius + 9) == radius


def test_receptive_field_of_a_static_network_without_pooling() -> None:
    shape: dict[str, Any] = {"num_feat": 16, "num_groups": 1, "num_blocks": 2, "hidden": 24, "branch": 2, "band": 9}
    network = ParagonSR2Static(scale=2, **shape, channel_mod=False, use_norm=False, hr_blocks=1).eval()
    for module in network.modules():
        if hasattr(module, "gamma"):
            nn.init.ones_(module.get_parameter("gamma"))
    # 2 + 2 blocks of 9//2 + 1, 3 for the pre-filter, (4 + 2) output pixels
    assert network.receptive_field() == 2 + 2 * 5 + 3 + 3
    assert measured_radius(network, 45) == network.receptive_field()


@pytest.mark.parametrize(
    ("layout", "name"),
    [("v2-dualpath-v6", "photo"), ("v2-hybrid-gn", "tiny"), ("v2-hybrid-attn", "nano"), ("v2-static", "micro")],
)
def test_pooling_makes_the_receptive_field_unlimited(layout: str, name: str) -> None:
    network = official(layout, name, 2)
    assert network.traits.global_statistics
    assert network.receptive_field() is None


def test_overlapping_windows_leave_rows_at_the_end_without_attention() -> None:
    """37 rows make one window of 32 whose last row has weight zero; the original never covers the rest."""
    assert [(start, end) for start, end, _ in window_spans(37)] == [(0, 32)]
    assert [(start, end) for start, end, _ in window_spans(70)] == [(0, 32), (24, 56), (48, 70)]
    torch.manual_seed(0)
    attention = SpatialAttention(8, mode="window")
    nn.init.ones_(attention.gamma)
    x = torch.rand(2, 8, 37, 20)
    with torch.no_grad():
        added = attention(x) - x
    assert added[:, :, 31:].abs().max() == 0
    assert (added[:, :, :31].abs().amax(dim=1) > 0).all()


def test_window_and_global_attention_agree_up_to_one_window() -> None:
    torch.manual_seed(0)
    windowed, whole = SpatialAttention(8, mode="window"), SpatialAttention(8, mode="global")
    nn.init.ones_(windowed.gamma)
    whole.load_state_dict(windowed.state_dict())
    with torch.no_grad():
        small, large = torch.rand(1, 8, 32, 32), torch.rand(1, 8, 33, 32)
        assert torch.equal(windowed(small), whole(small))
        assert not torch.allclose(windowed(large), whole(large))


@pytest.mark.parametrize("revision", ["v7", "v8"])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 8), (9, 3)])
def test_images_smaller_than_a_window_run_in_v7_and_v8(revision: str, size: tuple[int, int]) -> None:
    """The originals raised here."""
    torch.manual_seed(0)
    network = ParagonSR2DualPath(
        scale=2,
        revision="v7" if revision == "v7" else "v8",
        block="paragon",
        num_feat=16,
        num_groups=1,
        num_blocks=2,
        band=11,
        window_size=8,
    ).eval()
    with torch.no_grad():
        output = network(torch.rand(2, 3, *size))
    assert output.shape == (2, 3, 2 * size[0], 2 * size[1])
    assert output.isfinite().all()


@pytest.mark.parametrize(("layout", "name"), [("v2-atd", "pro"), ("v2-ultimate", "ultimate")])
def test_minimum_size_is_enough_and_needed(layout: str, name: str) -> None:
    shape = dict(BY_ID[layout].variants[0].shape) | {"num_feat": 8}
    shape |= {"num_groups": 1, "num_blocks": 2, "heads": 2} if layout == "v2-atd" else {"num_blocks": 3}
    network = BY_ID[layout].network(**shape, scale=1).eval()
    smallest = network.minimum_size
    with torch.no_grad():
        assert network(torch.rand(1, 3, smallest, smallest)).isfinite().all()
        with pytest.raises(RuntimeError):
            network(torch.rand(1, 3, smallest - 1, smallest - 1))
