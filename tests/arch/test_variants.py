"""Every official variant has the original's keys, shapes and parameter count at every scale, fused and unfused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paragon_arch.layouts import LAYOUTS, State, identify
from paragon_arch.layouts.base import Layout, Variant
from paragon_arch.networks.base import SRNetwork, structure_only

PREFIXES = ("paragonsr2_static_", "paragonsr_v2_", "paragonsr2v2_", "paragonsr2_", "paragonsr_")

BY_ID = {layout.id: layout for layout in LAYOUTS}


def key_hash(state: dict[str, torch.Tensor]) -> str:
    lines = sorted(f"{key}:{'x'.join(map(str, value.shape))}" for key, value in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def describe(network: nn.Module) -> dict[str, Any]:
    state = network.state_dict()
    return {
        "keys": len(state),
        "numel": sum(value.numel() for value in state.values()),
        "sha256": key_hash(state),
        "params": sum(parameter.numel() for parameter in network.parameters()),
    }


def build(layout: Layout, variant: Variant, scale: int, **options: Any) -> nn.Module:
    with structure_only():
        return layout.network(**{**variant.shape, "scale": scale, **options})


def candidates(official: str, factory: str) -> list[tuple[Layout, Variant]]:
    """Our variants that could be this factory of this layout; several where a name changed its size."""
    name = next(factory.removeprefix(prefix) for prefix in PREFIXES if factory.startswith(prefix))
    ids = {
        "v2-v9a": ["v2-v10", "v2-release"],
        "v2-v10": ["v2-v10", "v2-release"],
        "v2-atd": ["v2-atd", "v2-release"],
        "v2-atd-norm1d": ["v2-atd-norm1d", "v2-atd", "v2-release"],
        "v2-hybrid-rms": ["v2-hybrid-rms", "v2-hybrid-gn"],  # without norm they are the same
    }.get(official, [official])
    return [(BY_ID[i], variant) for i in ids for variant in BY_ID[i].variants if variant.name == name]


def entries(shared: Path) -> list[tuple[str, str, int, dict[str, Any]]]:
    table = json.loads((shared / "spec" / "variants.json").read_text())
    return [
        (layout["layout"], variant["factory"], int(scale), facts)
        for layout in table["layouts"]
        for variant in layout["variants"]
        for scale, facts in variant.get("scales", {}).items()  # discriminators have none
    ]


def windowed(variant: Variant) -> dict[str, Any]:
    """Window layouts need some window to have attention keys; its size does not show in them."""
    return {"window_size": 16} if variant.shape.get("variant") in ("photo", "pro") else {}


OFFICIAL = [
    "v1-pixelshuffle",
    "v1-magic",
    "v1-nearest",
    "v1-prels",
    "v1-ln",
    "v1-ln-bn",
    "v2-pixelshuffle",
    "v2-magic-reparam",
    "v2-magic",
    "v2-magic-hr",
    "v2-dynamic",
    "v2-static",
    "v2-hybrid-gn",
    "v2-hybrid-rms",
    "v2-hybrid-dense",
    "v2-hybrid-attn",
    "v2-dualpath-rgbgate",
    "v2-dualpath-v6",
    "v2-dualpath-v7",
    "v2-dualpath-v8",
    "v2-v9a",
    "v2-v10",
    "v2-atd-norm1d",
    "v2-atd",
    "v2-release",
    "v2-ultimate",
]


@pytest.mark.parametrize("official", OFFICIAL)
def test_official_variants_agree(official: str, shared: Path) -> None:
    wrong = list[str]()
    rows = [row for row in entries(shared) if row[0] == official]
    assert rows
    for _, factory, scale, facts in rows:
        plain = {key: facts[key] for key in ("keys", "numel", "sha256", "params")}
        found = candidates(official, factory)
        match = next((pair for pair in found if described(*pair, scale, False) == plain), None)
        if match is None:
            wrong.append(f"{factory} x{scale}: {plain} is none of {len(found)} candidates")
        elif facts.get("fused") and facts["fused"]["sha256"] != facts["sha256"]:
            fused = described(*match, scale, True)
            if any(fused[key] != facts["fused"][key] for key in ("keys", "numel", "sha256")):
                wrong.append(f"{factory} x{scale} fused: {facts['fused']} is not {fused}")
    assert not wrong, "\n".join(wrong[:5])


def test_every_official_layout_is_listed(shared: Path) -> None:
    assert {row[0] for row in entries(shared)} == set(OFFICIAL)


_described: dict[tuple[str, int, int, bool], dict[str, Any]] = {}


def described(layout: Layout, variant: Variant, scale: int, fused: bool) -> dict[str, Any]:
    """`describe` of a variant, built once where its shapes do not depend on the scale."""
    shared_by_scales = any(unknown.name == "scale" for unknown in layout.unknowns)
    key = (layout.id, layout.variants.index(variant), 0 if shared_by_scales else scale, fused)
    if key not in _described:
        options = {"fused": True} if fused else {}
        _described[key] = describe(build(layout, variant, scale, **options, **windowed(variant)))
    return _described[key]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.id)
def test_variants_are_recognised_and_read_back(layout: Layout) -> None:
    """Detection finds each variant's own layout and recovers its hyper-parameters."""
    for variant in layout.variants:
        state = State(build(layout, variant, 2, **windowed(variant)).state_dict())
        assert identify(state) is layout, variant.name
        hyper = layout.read(state)
        assert {key: hyper.get(key, value) for key, value in variant.shape.items()} == variant.shape
        assert layout.variant(hyper) is not None
        assert hyper.get("scale", 2) == 2
        assert not hyper.get("fused", False)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.id)
def test_fused_variants_are_recognised_and_read_back(layout: Layout) -> None:
    for variant in layout.variants:
        network = build(layout, variant, 2, **windowed(variant))
        if not (isinstance(network, SRNetwork) and network.fusible):
            continue
        state = State(build(layout, variant, 2, fused=True, **windowed(variant)).state_dict())
        assert identify(state) is layout, variant.name
        hyper = layout.read(state)
        if layout.id == "v2-dynamic":  # fused "full" cannot be told from "off", which evaluates alike
            assert hyper["transformer"] == "off"
        else:
            assert hyper["fused"]
            assert {key: hyper.get(key, value) for key, value in variant.shape.items()} == variant.shape
        assert layout.variant(hyper) is not None


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"conv_in.weight": torch.zeros(())},
        {"conv_in.weight": torch.zeros(3), "conv_out.weight": torch.zeros(2)},
        {"conv_in.weight": torch.zeros(0, 3, 3, 3), "conv_out.weight": torch.zeros(3, 0, 3, 3)},
        {
            "conv_in.weight": torch.zeros(4, 3, 3, 3),
            "conv_out.weight": torch.zeros(3, 4, 3, 3),
            "body.x": torch.zeros(1),
        },
    ],
)
def test_detection_survives_odd_state_dicts(state: dict[str, torch.Tensor]) -> None:
    assert identify(state) is None
    for layout in LAYOUTS:
        assert not layout.matches(State(state))
