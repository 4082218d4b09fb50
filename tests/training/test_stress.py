"""Pictures of extreme contrast, on which a network without normalisation can explode."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import paragon_arch
from paragon_engine.catalog import ShippedModel, shipped_models
from training.config import DataConfig
from training.data.imresize import imresize
from training.data.pairs import PairSampler, make_sampler, to_tensor
from training.data.pictures import Store
from training.data.stress import stress_pair, stress_patch
from training.recipe_file import read_recipe
from training.scoring.squares import step_ratio
from training.trainer import Trainer


def extremes(side: int = 32) -> Tensor:
    """Chessboard, stripes, a dot, black-and-white noise, coloured noise, then random ones: ``(N, 3, side, side)``."""
    step = torch.arange(side)
    plain = torch.stack([torch.add(step[:, None], step) % 2, (step % 2).expand(side, side), torch.zeros(side, side)])
    plain[2, side // 2, side // 2] = 1
    random = torch.Generator().manual_seed(0)
    noise = [(torch.rand(1, channels, side, side, generator=random) > 0.5).float() for channels in (1, 3)]
    drawn = to_tensor(np.stack([stress_patch(side, np.random.default_rng(seed)) for seed in range(12)]))
    return torch.cat([plain[:, None].float().expand(-1, 3, -1, -1), noise[0].expand(-1, 3, -1, -1), noise[1], drawn])


@pytest.mark.parametrize("shipped", shipped_models(), ids=lambda shipped: shipped.path.stem)
def test_shipped_models_stay_bounded(shipped: ShippedModel) -> None:
    model = paragon_arch.load(shipped.path).model
    with torch.inference_mode():
        result = model(extremes())
    assert -2 < result.min() < result.max() < 3


def test_the_stream_recipe_starts_bounded(root: Path, tmp_path: Path) -> None:
    recipe = read_recipe(root / "training" / "recipes" / "first" / "2x-stream-fidelity.toml")
    data = dataclasses.replace(recipe.data, folder=None, synthetic=4, batch=16)
    recipe = dataclasses.replace(recipe, data=data, run=dataclasses.replace(recipe.run, out=str(tmp_path)))
    run = Trainer(recipe, make_sampler(data, scale=2, seed=1, degrade=recipe.degrade))
    with torch.inference_mode():
        assert run.network(extremes()).abs().max() < 5


def test_a_share_of_the_inputs_is_extreme() -> None:
    config = DataConfig(synthetic=1, patch=32, batch=1, stress=0.5)
    sampler = PairSampler(Store([0], memory=10**6), config, scale=2, seed=0)
    pairs = [sampler.pair(step, 0) for step in range(40)]
    plain = [(low, high) for low, high in pairs if len(np.unique(low.reshape(-1, 3), axis=0)) <= 8]
    assert 5 < len(plain) < 30  # seven in eight have few colours
    for low, high in plain:
        assert np.abs(high.astype(int) - imresize(low, 2)).max() <= 1  # turned after it was enlarged


def test_targets_of_extreme_patches_show_no_squares() -> None:
    for seed in range(8):
        low, high = stress_pair(24, 4, np.random.default_rng(seed))
        assert step_ratio(high, 4) < 4
        assert step_ratio(low.repeat(4, axis=0).repeat(4, axis=1), 4) == np.inf
