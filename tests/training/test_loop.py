"""The loop: it learns, resumes bit for bit, averages, and survives poisoned batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import paragon_arch
from paragon_arch.errors import InvalidOptionError, ParagonError
from training.config import (
    DataConfig,
    DegradeConfig,
    GanConfig,
    ModelConfig,
    OptimConfig,
    Recipe,
    RunConfig,
)
from training.data.pairs import PairSampler, make_sampler
from training.data.pictures import Store
from training.export import export
from training.loop import fit, restore, start
from training.network import build
from training.recipe_file import read_recipe
from training.schedule import learning_rate
from training.state import resume, save
from training.trainer import MAX_BAD_STEPS, Trainer

MODEL = ModelConfig(alpha=0.0, init="data")


def recipe(out: Path, steps: int) -> Recipe:
    return Recipe(
        model=MODEL,
        data=DataConfig(synthetic=4, patch=24, batch=4),
        optim=OptimConfig(steps=steps, lr=3e-3, warmup=5, ema=0.9),
        run=RunConfig(out=str(out), log_every=5, save_every=5),
    )


def trainer(out: Path, steps: int = 20) -> Trainer:
    return made(recipe(out, steps))


def made(content: Recipe) -> Trainer:
    sampler = make_sampler(content.data, scale=content.model.scale, seed=content.run.seed, degrade=content.degrade)
    return Trainer(content, sampler)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_the_smoke_recipe_reduces_the_loss_and_exports_a_loadable_model(tmp_path: Path, root: Path) -> None:
    content = read_recipe(root / "training" / "recipes" / "smoke.toml")
    done = fit(dataclasses.replace(content, run=dataclasses.replace(content.run, out=str(tmp_path))))
    losses = [float(line.split("\t")[1]) for line in (tmp_path / "log.tsv").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]
    averaged = done.averaged_network()
    model = paragon_arch.load(tmp_path / "model.safetensors")
    assert (model.scale, model.model.alpha) == (2, 0.0)
    x = torch.rand(1, 3, 20, 24)
    with torch.inference_mode():
        assert torch.equal(model.model(x), averaged(x))


def test_a_run_can_be_exported_before_its_end(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.advance()
    with pytest.raises(InvalidOptionError, match="no checkpoint"):
        restore(run.recipe)
    save(run, tmp_path / "state.safetensors")
    again = restore(run.recipe)
    assert again.step == 1
    assert_equal(again.averaged_network().state_dict(), run.averaged_network().state_dict())


CRITIC = GanConfig(weight=0.1, num_feat=4, penalty_every=2)
DYNAMIC = ModelConfig("v2-dynamic", "nano", alpha=0.0)
"""Has tracked kernels, which it tracks on every few steps only."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gan": CRITIC},
        {"model": DYNAMIC, "degrade": DegradeConfig(noise=1, jpeg=0.5)},
        {"optim": OptimConfig(steps=20, muon=1e-2, warmup=5, ema=0.9)},
    ],
    ids=["fidelity", "critic", "dynamic, degraded", "muon"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    content = dataclasses.replace(recipe(tmp_path, 20), **changes)
    whole, first, second = made(content), made(content), made(content)
    for _ in range(5):
        whole.advance()
    for _ in range(3):
        first.advance()
    save(first, tmp_path / "state.safetensors")
    resume(second, tmp_path / "state.safetensors")
    for _ in range(2):
        second.advance()
    assert second.step == whole.step == 5
    assert_equal(whole.network.state_dict(), second.network.state_dict())
    assert_equal(whole.average.values, second.average.values)
    if whole.critic is not None and second.critic is not None:
        assert_equal(whole.critic.network.state_dict(), second.critic.network.state_dict())


def assert_equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_another_recipes_state_is_refused(tmp_path: Path) -> None:
    save(trainer(tmp_path, steps=20), tmp_path / "state.safetensors")
    with pytest.raises(InvalidOptionError, match="another recipe"):
        resume(trainer(tmp_path, steps=21), tmp_path / "state.safetensors")


class Poisoned(PairSampler):
    """Returns NaN targets at some steps."""

    bad: frozenset[int] = frozenset()

    def batch(self, step: int, *, whole: bool = False) -> tuple[Tensor, Tensor]:
        low, high = super().batch(step, whole=whole)
        return low, high * float("nan") if step in self.bad else high


def poisoned(out: Path, bad: frozenset[int]) -> Trainer:
    content = recipe(out, 40)
    sampler = Poisoned(Store(range(4), memory=10**6), content.data, scale=2, seed=1)
    sampler.bad = bad
    return Trainer(content, sampler)


def test_a_poisoned_batch_changes_nothing(tmp_path: Path) -> None:
    run = poisoned(tmp_path, frozenset({2}))
    run.advance()
    run.advance()
    before = {name: parameter.detach().clone() for name, parameter in run.parameters.items()}
    run.advance()
    assert run.skipped == 1
    assert all(torch.equal(before[name], parameter) for name, parameter in run.parameters.items())
    assert run.advance() < 1


def test_endless_poison_ends_the_run(tmp_path: Path) -> None:
    run = poisoned(tmp_path, frozenset(range(100)))
    for _ in range(MAX_BAD_STEPS - 1):
        run.advance()
    with pytest.raises(ParagonError, match="diverged"):
        run.advance()


def steep(output: Tensor, target: Tensor, low: Tensor) -> Tensor:
    return 1e6 * (output - target).square().mean()


def test_the_gradient_norm_is_clipped(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.losses.parts = {"charbonnier": steep}
    run.advance()
    norm = torch.cat([p.grad.flatten() for p in run.parameters.values() if p.grad is not None]).square().sum().sqrt()
    assert norm.item() == pytest.approx(1.0, rel=1e-3)


def test_learning_rate_warms_up_and_decays() -> None:
    config = OptimConfig(steps=100, lr=1.0, final_lr=0.1, warmup=10)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == max(rates) == 1.0
    assert rates[100] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_multistep_and_constant_schedules() -> None:
    steps = OptimConfig(steps=100, lr=1.0, schedule="multistep", milestones=(20, 50), decay=0.5, warmup=0)
    assert [learning_rate(steps, step) for step in (0, 19, 20, 50, 99)] == [1.0, 1.0, 0.5, 0.25, 0.25]
    constant = OptimConfig(steps=100, lr=0.3, schedule="constant", warmup=2)
    assert [learning_rate(constant, step) for step in (0, 1, 99)] == [0.15, 0.3, 0.3]


def test_fresh_networks_get_signals_of_unit_size(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    sizes: list[float] = []
    for layer in run.network.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.weight.requires_grad:
            layer.register_forward_hook(lambda _, __, output: sizes.append(output.std().item()))
    run.network(run.sampler.batch(0)[0])
    assert sizes[:-1] == pytest.approx([1.0] * 12, abs=1e-3)  # all but conv_out
    assert len(sizes) == 13


def test_a_run_can_start_from_a_network_of_another_scale(tmp_path: Path) -> None:
    first = build(MODEL, seed=1)
    export(first, tmp_path / "2x.safetensors", overwrite=False)
    fourfold = dataclasses.replace(MODEL, scale=4, start=str(tmp_path / "2x.safetensors"), transfer=True)
    before, after = first.state_dict(), build(fourfold, seed=2).state_dict()
    assert {key for key in after if key not in before or not torch.equal(before[key], after[key])} == {
        "up.0.weight",
        "up.0.bias",
    }
    with pytest.raises(InvalidOptionError, match="of layout v2-release"):
        build(dataclasses.replace(fourfold, layout="v2-magic", variant="nano"), seed=1)
    with pytest.raises(InvalidOptionError, match="tensors fit"):
        build(dataclasses.replace(fourfold, variant="stream"), seed=1)


def test_a_run_can_start_from_a_checkpoint(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.advance()
    export(first.averaged_network(), tmp_path / "first.safetensors", overwrite=False)
    config = ModelConfig(alpha=0.0, start=str(tmp_path / "first.safetensors"))
    assert torch.equal(build(config, seed=9).state_dict()["conv_in.weight"], first.average.values["conv_in.weight"])
    for other in (dataclasses.replace(config, variant="stream"), dataclasses.replace(config, scale=3)):
        with pytest.raises(InvalidOptionError):
            build(other, seed=9)


def test_two_seeds_give_two_networks(tmp_path: Path) -> None:
    content = recipe(tmp_path, 10)
    other = dataclasses.replace(content, run=dataclasses.replace(content.run, seed=2))
    a, b = made(content), made(other)
    assert not torch.equal(a.parameters["conv_in.weight"], b.parameters["conv_in.weight"])


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    fit(recipe(tmp_path, 6))
    lines = (tmp_path / "log.tsv").read_text()
    assert start(recipe(tmp_path, 6)).step == 6
    fit(recipe(tmp_path, 6))
    assert (tmp_path / "log.tsv").read_text() == lines
