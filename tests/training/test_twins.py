"""Twins of the catalogue: pairs whose weights can be interpolated."""

from __future__ import annotations

import paragon_arch
from paragon_engine.catalog import shipped_models


def test_twins_name_each_other_and_have_one_shape() -> None:
    models = {model.path.name: model for model in shipped_models()}
    pairs = [(model, models[model.twin]) for model in models.values() if model.twin]
    assert pairs
    for model, twin in pairs:
        assert twin.twin == model.path.name
        assert model.restores != twin.restores
        assert (model.scale, model.layout, model.variant) == (twin.scale, twin.layout, twin.variant)
        own, other = (paragon_arch.load(each.path).model.state_dict() for each in (model, twin))
        assert {key: value.shape for key, value in own.items()} == {key: value.shape for key, value in other.items()}


def test_restoring_models_have_a_twin_and_the_default_does_not_restore() -> None:
    assert all(model.twin for model in shipped_models() if model.restores)
    assert not next(model for model in shipped_models() if model.default).restores
