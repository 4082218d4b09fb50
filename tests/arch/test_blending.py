"""Blending: what lies between two trainings of one network, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors import safe_open
from spandrel import ModelLoader

import paragon_arch
from paragon_arch.errors import InvalidOptionError, StateMismatchError
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.v2_magic import ParagonSR2Magic
from paragon_engine.catalog import ShippedModel, shipped_models
from tests.engine_models import checkpoint, descriptor, network


def dynamic(seed: int) -> ParagonSR2Magic:
    torch.manual_seed(seed)
    made = ParagonSR2Magic(scale=2, num_feat=8, num_groups=1, num_blocks=2, hidden=12, branch=1, band=7).train()
    with torch.no_grad():
        made(torch.rand(2, 3, 12, 12))
    return made.eval()


def pairs() -> list[tuple[ShippedModel, ShippedModel]]:
    models = {model.path.name: model for model in shipped_models()}
    return [(model, models[model.twin]) for model in models.values() if model.restores]


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_every_tensor_lies_between_the_two(weight: float) -> None:
    a, b = network(seed=1), network(seed=2)
    blended = paragon_arch.blend(a, b, weight)
    assert isinstance(blended, SRNetwork)
    first, second = a.state_dict(), b.state_dict()
    for key, value in blended.state_dict().items():
        torch.testing.assert_close(value, torch.lerp(first[key], second[key], weight), atol=1e-6, rtol=1e-6)
    ends = {0.0: first, 1.0: second}.get(weight, {})
    assert all(torch.equal(blended.state_dict()[key], value) for key, value in ends.items())


def test_the_models_stay_as_they_are_and_the_blend_is_its_own() -> None:
    a, b = descriptor(seed=1), descriptor(seed=2)
    before = {key: value.clone() for key, value in a.model.state_dict().items()}
    blended = paragon_arch.blend(a, b, 0.5)
    for parameter in blended.model.parameters():
        parameter.zero_()
    assert all(torch.equal(before[key], value) for key, value in a.model.state_dict().items())
    assert any(bool(value.any()) for value in b.model.state_dict().values())


def test_a_file_says_what_it_was_blended_from(tmp_path: Path) -> None:
    paths = [checkpoint(tmp_path / f"{name}.safetensors", seed=seed) for seed, name in enumerate(("clean", "restore"))]
    clean, restore = (paragon_arch.open_model(path) for path in paths)
    paragon_arch.save(paragon_arch.blend(clean, restore, 0.3), tmp_path / "c.safetensors")
    with cast("Any", safe_open(tmp_path / "c.safetensors", "pt")) as file:  # carries no annotations
        stored = json.loads(file.metadata()["paragonsr.blend"])
    assert stored == {"first": "clean", "second": "restore", "weight": 0.3}
    again = paragon_arch.inspect(tmp_path / "c.safetensors")
    assert json.loads(again.to_json()["blend"]) == stored
    assert (again.values["alpha"].value, again.values["alpha"].source) == (clean.report.values["alpha"].value, "hint")
    assert "blend" not in paragon_arch.inspect(paths[0]).to_json()


@pytest.mark.parametrize(("options", "named"), [({"scale": 4}, "scale is 2"), ({"alpha": 0.5}, "alpha is")])
def test_other_networks_are_refused_by_what_differs(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOptionError, match=named):
        paragon_arch.blend(network(), network(**options), 0.5)
    with pytest.raises(InvalidOptionError, match="two layouts"):
        paragon_arch.blend(network(), dynamic(0), 0.5)


def test_a_changed_tensor_is_named() -> None:
    a, b = network(), network()
    name, parameter = next((name, item) for name, item in b.named_parameters() if item.ndim and item.shape[0] > 1)
    parameter.data = parameter.data[:1]
    with pytest.raises(StateMismatchError, match=name):
        paragon_arch.blend(a, b, 0.5)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan"), float("inf")])
def test_weights_beyond_the_two_are_refused(weight: float) -> None:
    with pytest.raises(InvalidOptionError, match=r"0 .* to 1"):
        paragon_arch.blend(network(), network(), weight)


def test_both_are_fused_or_neither_and_kernels_are_tracked_in_both() -> None:
    a, b = dynamic(1), dynamic(2)
    blended = paragon_arch.blend(a, b, 0.5)
    kernels = [key for key in a.state_dict() if key.endswith(".tracked_kernel")]
    assert kernels
    for key in kernels:
        torch.testing.assert_close(blended.state_dict()[key], (a.state_dict()[key] + b.state_dict()[key]) / 2)
    both = paragon_arch.blend(paragon_arch.fuse(a), paragon_arch.fuse(b), 0.5)
    assert isinstance(both, SRNetwork)
    assert both.fused
    with pytest.raises(InvalidOptionError, match="only the second model is fused"):
        paragon_arch.blend(a, paragon_arch.fuse(b), 0.5)
    for key in b.state_dict():
        if key.endswith(".tracked_initialized"):
            b.state_dict()[key].zero_()
    with pytest.raises(InvalidOptionError, match=r"tracked_initialized: .*calibrate"):
        paragon_arch.blend(a, b, 0.5)


@pytest.mark.parametrize("amount", [0.05, 0.5, 0.95])
def test_other_programs_can_interpolate_the_shipped_pairs(amount: float) -> None:
    """ChaiNNer's Interpolate Models mixes the networks' tensors, wants equal keys, and that white stays light."""
    paragon_arch.register()
    assert pairs()
    for restoring, clean in pairs():
        a, b = (paragon_arch.load(model.path) for model in (clean, restoring))
        first, second = a.model.state_dict(), b.model.state_dict()
        assert {key: value.shape for key, value in first.items()} == {key: v.shape for key, v in second.items()}
        mixed = {key: (1 - amount) * value + amount * second[key] for key, value in first.items()}
        theirs = ModelLoader().load_from_state_dict(mixed)
        assert isinstance(theirs, paragon_arch.ParagonModelDescriptor)
        assert theirs.report.hyperparameters == a.report.hyperparameters  # alpha included, which no tensor shows
        ours = paragon_arch.blend(a, b, amount)
        for key, value in ours.model.state_dict().items():
            torch.testing.assert_close(theirs.model.state_dict()[key], value, atol=1e-6, rtol=1e-5)
        side = max(theirs.size_requirements.minimum, 3)
        with torch.no_grad():
            assert float(theirs(torch.ones(1, 3, side, side)).mean()) > 0.5


def test_only_what_lies_between_two_loaded_models_gets_their_values() -> None:
    paragon_arch.register()
    a, b = descriptor(seed=1, alpha=0.15), descriptor(seed=2, alpha=0.15)
    first, second = a.model.state_dict(), b.model.state_dict()
    mixed = {key: (value + second[key]) / 2 for key, value in first.items()}
    halved = {key: value.half() for key, value in mixed.items()}
    moved = {key: value + 0.05 * torch.randn_like(value) for key, value in mixed.items()}
    found = [ModelLoader().load_from_state_dict(dict(state)) for state in (mixed, halved, moved, first)]
    alphas = [
        model.report.values["alpha"].value for model in found if isinstance(model, paragon_arch.ParagonModelDescriptor)
    ]
    assert alphas == [0.15, 0.15, 0.3, 0.3]
    del a, b
    gone = ModelLoader().load_from_state_dict(mixed)
    assert isinstance(gone, paragon_arch.ParagonModelDescriptor)
    assert gone.report.values["alpha"].value == 0.3
