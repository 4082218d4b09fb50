"""No state dict of ours is taken for another architecture by spandrel, and none of theirs for ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from spandrel import MAIN_REGISTRY
from torch import Tensor

from paragon_arch.layouts import LAYOUTS, identify
from paragon_arch.layouts.base import Layout, Variant
from paragon_arch.spandrel_support import ARCHITECTURES
from tests import spandrel_models
from tests.golden import NAMES, read

THEIRS = {
    support.architecture.id: support
    for support in MAIN_REGISTRY.architectures()
    if type(support.architecture).__module__.startswith("spandrel.")
}
"""What the installed spandrel has built in, whether or not something has registered our family already."""

DEEPEST = 12
"""Larger variants repeat the same block keys more often and only cost time."""


def detected_by_them(state: dict[str, Tensor]) -> list[str]:
    return [name for name, support in THEIRS.items() if support.detect(state)]


def detected_by_us(state: dict[str, Tensor]) -> list[str]:
    return [layout for layout, architecture in ARCHITECTURES.items() if architecture.detect(state)]


def small_variants(layout: Layout) -> list[Variant]:
    def depth(variant: Variant) -> int:
        return variant.shape["num_groups"] * variant.shape["num_blocks"]

    smallest = min(layout.variants, key=depth)
    return [variant for variant in layout.variants if variant is smallest or depth(variant) <= DEEPEST]


def official_states(layout: Layout, variant: Variant) -> Iterator[dict[str, Tensor]]:
    """Unfused, and fused where the layout has that, at an even and an odd scale."""
    windows: list[dict[str, Any]] = [{}]
    if variant.shape.get("variant") in ("photo", "pro"):
        windows = [{"window_size": 16}, {"window_size": None}]
    for options in ({"scale": scale, **window} for scale in (2, 3) for window in windows):
        with torch.device("meta"):
            network = layout.network(**{**variant.shape, **options})
            yield network.state_dict()
            if network.fusible:
                yield layout.network(**{**variant.shape, **options, "fused": True}).state_dict()


def test_every_built_in_architecture_is_covered() -> None:
    assert len(THEIRS) >= 40
    assert THEIRS.keys() <= spandrel_models.MODELS.keys(), "add the new architectures to tests/spandrel_models.py"


@pytest.mark.parametrize("architecture", THEIRS)
def test_theirs_are_not_taken_for_ours(architecture: str) -> None:
    for state in spandrel_models.state_dicts(architecture):
        assert detected_by_them(state)[:1] == [architecture], "not a state dict of this architecture"
        assert identify(state) is None
        assert detected_by_us(state) == []


@pytest.mark.parametrize("layout", [pytest.param(layout, id=layout.id) for layout in LAYOUTS])
def test_ours_are_not_taken_for_theirs(layout: Layout) -> None:
    assert layout.variants
    for variant in small_variants(layout):
        for state in official_states(layout, variant):
            assert detected_by_them(state) == []
            assert len(detected_by_us(state)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_originals_are_not_taken_for_theirs(name: str, shared: Path) -> None:
    golden = read(shared / "golden" / f"{name}.safetensors")
    for state in filter(None, (golden.state, golden.fused)):
        assert detected_by_them(state) == []
        assert len(detected_by_us(state)) == 1
