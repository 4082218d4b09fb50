"""Networks of any size, shares of the patches, and runs that are finished on a branch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import paragon_arch
from paragon_arch.errors import ImageError, InvalidOptionError
from paragon_arch.layouts import LAYOUTS
from training.__main__ import main
from training.config import SIZES, DataConfig, DegradeConfig, ModelConfig, OptimConfig, Recipe, RunConfig
from training.data.pairs import make_sampler
from training.export import export
from training.loop import fit, restore, start
from training.network import build
from training.recipe_file import ending
from training.schedule import learning_rate
from training.state import fingerprint, save

SMALL = ModelConfig(variant="photo", num_feat=8, num_groups=1, num_blocks=2, window_size=0, alpha=0.0, init="data")


def recipe(out: Path, steps: int = 6) -> Recipe:
    return Recipe(
        model=SMALL,
        data=DataConfig(synthetic=2, patch=16, batch=2),
        optim=OptimConfig(steps=steps, lr=3e-3, schedule="constant", warmup=2, ema=0.998),
        run=RunConfig(out=str(out), save_every=2),
    )


@pytest.mark.parametrize("scale", [2, 4])
def test_sizes_that_were_never_official_are_recognised(tmp_path: Path, scale: int) -> None:
    network = build(dataclasses.replace(SMALL, scale=scale), seed=0)
    export(network, tmp_path / "small.safetensors", overwrite=False)
    loaded = paragon_arch.load(tmp_path / "small.safetensors").model
    hyper = loaded.hyperparameters
    sizes = [hyper[name] for name in ("num_feat", "num_groups", "num_blocks", "window_size", "scale")]
    assert sizes == [8, 1, 2, None, scale]
    x = torch.rand(1, 3, 12, 12)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network.eval()(x))


def test_every_layout_has_the_sizes_and_none_is_zero() -> None:
    assert all(name in variant.shape for layout in LAYOUTS for variant in layout.variants for name in SIZES)
    with pytest.raises(InvalidOptionError, match=r"model\.num_groups = 0"):
        dataclasses.replace(recipe(Path("out")), model=dataclasses.replace(SMALL, num_groups=0))


def test_shares_of_the_patches_by_folder(tmp_path: Path) -> None:
    for kind, value, count in (("dark", 10, 5), ("light", 240, 1), ("unused", 120, 3)):
        (tmp_path / kind).mkdir()
        for index in range(count):
            Image.fromarray(np.full((24, 24, 3), value, np.uint8)).save(tmp_path / kind / f"{index}.png")
    config = DataConfig(folder=str(tmp_path), patch=16, mix={"dark": 0.25, "light": 0.75})
    sampler = make_sampler(config, scale=2, seed=0, degrade=DegradeConfig())
    values = [int(sampler.pair(step, 0)[1][0, 0, 0]) for step in range(200)]
    assert set(values) == {10, 240}
    assert 125 < values.count(240) < 175
    with pytest.raises(ImageError, match="missing"):
        make_sampler(dataclasses.replace(config, mix={"missing": 1.0}), scale=2, seed=0, degrade=DegradeConfig())


def test_a_branch_takes_over_everything_but_the_step(tmp_path: Path) -> None:
    run = fit(recipe(tmp_path / "run"))
    end = ending(run.recipe, 4)
    branch = start(end)
    assert (branch.step, branch.average.updates) == (0, run.average.updates)
    for name, value in run.network.state_dict().items():
        assert torch.equal(branch.network.state_dict()[name], value)
    for (name, moment), (again, other) in zip(run.optimizers.moments(), branch.optimizers.moments(), strict=True):
        assert name == again
        assert torch.equal(moment, other)
    assert [learning_rate(end.optim, step) for step in (0, 2)] == pytest.approx([3e-3, 1.505e-3])
    fit(end)
    assert (tmp_path / "run-end" / "model.safetensors").is_file()
    other = dataclasses.replace(end, model=dataclasses.replace(SMALL, num_feat=16))
    other = dataclasses.replace(other, run=dataclasses.replace(other.run, out=str(tmp_path / "other")))
    with pytest.raises(InvalidOptionError, match="layout and size"):
        start(other)


def test_a_run_that_has_no_state_cannot_be_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f'[data]\nsynthetic = 1\n[optim]\nsteps = 9\n[run]\nout = "{(tmp_path / "none").as_posix()}"\n'
    (tmp_path / "recipe.toml").write_text(text)
    assert main(["fit", str(tmp_path / "recipe.toml"), "--end", "3"]) == 1
    assert "run.branch" in capsys.readouterr().err


def test_a_run_with_shares_can_be_exported_before_its_end(tmp_path: Path) -> None:
    (tmp_path / "photo").mkdir()
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(tmp_path / "photo" / "a.png")
    data = DataConfig(folder=str(tmp_path), patch=16, batch=2, mix={"photo": 1.0})
    content = dataclasses.replace(recipe(tmp_path / "run"), data=data)
    run = start(content)
    run.advance()
    save(run, tmp_path / "run" / "state.safetensors")
    assert restore(content).step == 1


def test_a_fingerprint_names_what_differs_from_the_defaults(tmp_path: Path) -> None:
    text = fingerprint(recipe(tmp_path))
    assert '"num_feat": 8' in text
    assert "jpeg" not in text
    assert str(tmp_path) not in text
