"""Batches made on the training device, and steps that do not wait for it, against what the CPU does."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from paragon_arch.errors import InvalidOptionError
from training.config import DataConfig, DegradeConfig, ModelConfig, OptimConfig, Recipe, RunConfig
from training.data.bank import BankSampler
from training.data.codecs import compress_jpeg
from training.data.degrade import blur
from training.data.degrade_batch import BatchDegradation, blurred, reduced
from training.data.imresize import imresize
from training.data.jpeg import jpeg
from training.data.pairs import PairSampler, make_sampler
from training.data.pictures import Pixels, Store, synthetic_image
from training.loop import start
from training.optimizer import Optimizers
from training.state import resume, save
from training.trainer import MAX_BAD_STEPS, Trainer

CPU = torch.device("cpu")
IMAGE = synthetic_image(64, 3)
DATA = DataConfig(synthetic=3, patch=32, batch=4, bank=True)


def planes(*images: Pixels) -> torch.Tensor:
    return torch.tensor(np.stack(images)).permute(0, 3, 1, 2).float()


def pixels(batch: torch.Tensor) -> Pixels:
    return batch.round().byte().permute(0, 2, 3, 1).numpy()


def off(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def bank(config: DataConfig = DATA, degrade: DegradeConfig | None = None, seed: int = 5) -> BankSampler:
    degrade = degrade or DegradeConfig()
    return BankSampler(make_sampler(config, scale=2, seed=seed, degrade=degrade), degrade, CPU)


@pytest.mark.parametrize("quality", [15, 50, 75, 95])
@pytest.mark.parametrize("halved", [False, True])
def test_jpeg_is_pillows(quality: int, halved: bool) -> None:
    odd = IMAGE[:53, :42]
    expected = compress_jpeg(odd, quality, halved=halved)
    found = pixels(jpeg(planes(odd), torch.tensor([quality]), halved=torch.tensor([halved])))[0]
    assert off(found, expected) < min(1.5, 0.3 * off(odd, expected))


def test_each_patch_has_its_own_quality() -> None:
    both = pixels(jpeg(planes(IMAGE, IMAGE), torch.tensor([20, 90]), halved=torch.tensor([True, False])))
    assert off(both[0], IMAGE) > 2 * off(both[1], IMAGE)


def test_blur_and_reduction_are_those_of_the_cpu() -> None:
    sigma = torch.tensor([0.5, 1.4]).view(2, 1, 1, 1)
    soft = pixels(blurred(planes(IMAGE, IMAGE), sigma, sigma.flip(0)))
    assert np.abs(soft[0].astype(int) - blur(IMAGE, 0.5, 1.4)).max() <= 1
    assert np.abs(soft[1].astype(int) - blur(IMAGE, 1.4, 0.5)).max() <= 1
    half = pixels(reduced(planes(IMAGE), (32, 32), "bicubic").clamp(0, 255))[0]
    assert np.abs(half.astype(int) - imresize(IMAGE, Fraction(1, 2)))[3:-3, 3:-3].max() <= 1


def test_batches_are_functions_of_seed_and_step() -> None:
    degrade = DegradeConfig(blur=0.5, chain=0.5, noise=0.5, sharpen=0.5, jpeg=0.8, jpeg_twice=0.5, jpeg_shift=True)
    first, again = (bank(degrade=degrade).batch(3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], bank(degrade=degrade).batch(4)[1])
    low, high = first
    assert (low.shape, high.shape) == ((4, 3, 16, 16), (4, 3, 32, 32))
    assert 0 <= float(low.min()) <= float(low.max()) <= 1
    assert torch.equal(low * 255, (low * 255).round())


def test_patches_are_cut_from_the_pictures() -> None:
    sampler = bank(dataclasses.replace(DATA, shrink=(1.0, 1.0), candidates=2, batch=16))
    pictures = [sampler.store[index] for index in range(3)]
    for patch in pixels(sampler.batch(0)[1] * 255):
        turned = [np.rot90(view, turns) for view in (patch, patch[:, ::-1]) for turns in range(4)]
        assert any(_inside(picture, view) for picture in pictures for view in turned)


def _inside(picture: Pixels, patch: Pixels) -> bool:
    rows, columns = np.nonzero((picture[:-31, :-31] == patch[0, 0]).all(axis=2))
    return any(np.array_equal(picture[y : y + 32, x : x + 32], patch) for y, x in zip(rows, columns, strict=True))


def test_undegraded_pairs_fit() -> None:
    low, high = bank().batch(0)
    expected = torch.nn.functional.interpolate(high, scale_factor=0.5, mode="bicubic", antialias=True).clamp(0, 1)
    assert (low - expected).abs().max() <= 0.51 / 255


def test_a_share_of_the_patches_is_extreme() -> None:
    sampler = bank(dataclasses.replace(DATA, stress=0.5, batch=32))
    few = [len(np.unique(patch.reshape(-1, 3), axis=0)) <= 8 for patch in pixels(sampler.batch(0)[0] * 255)]
    assert 5 < sum(few) < 25


def test_what_a_bank_cannot_do_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match=r"degrade\.webp"):
        BatchDegradation(DegradeConfig(webp=0.1))
    with pytest.raises(InvalidOptionError, match=r"data\.workers"):
        recipe(Path("out"), data=dataclasses.replace(DATA, workers=2))


def recipe(out: Path, *, data: DataConfig = DATA, muon: float = 0.0, bad: int = 0) -> Recipe:
    return Recipe(
        model=ModelConfig(alpha=0.0, init="data"),
        data=data,
        optim=OptimConfig(steps=8, lr=3e-3, warmup=2, ema=0.9, muon=muon),
        run=RunConfig(out=str(out), save_every=4),
    )


def unwaiting(content: Recipe) -> Trainer:
    """A trainer that does on the CPU what it does on a GPU."""
    run = start(content, device=CPU)
    optim = content.optim
    run.optimizers = Optimizers(run.parameters, lr=optim.lr, betas=optim.betas, muon=optim.muon, fused=True)
    run.bad = torch.zeros(2, dtype=torch.int64)
    return run


@pytest.mark.parametrize("muon", [0.0, 1e-3])
def test_steps_that_do_not_wait_end_where_others_do(tmp_path: Path, muon: float) -> None:
    if muon and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    content = recipe(tmp_path, muon=muon)
    plain, run = start(content, device=CPU), unwaiting(content)
    for step in range(6):
        low, high = run.sampler.batch(step)
        spoilt = low * float("nan") if step in (0, 3) else low
        plain.advance((spoilt, high))
        run.train_step((spoilt, high))
    run.settle()
    assert run.skipped == plain.skipped == 2
    for name, value in run.network.state_dict().items():
        torch.testing.assert_close(value, plain.network.state_dict()[name], atol=1e-4, rtol=1e-3)
    save(run, tmp_path / "state.safetensors")
    again = start(content, device=CPU)
    resume(again, tmp_path / "state.safetensors")
    assert (again.step, again.skipped) == (6, 2)


def test_endless_poison_is_found_when_the_device_is_asked(tmp_path: Path) -> None:
    run = unwaiting(recipe(tmp_path))
    low, high = run.sampler.batch(0)
    for _ in range(MAX_BAD_STEPS):
        run.train_step((low * float("nan"), high))
    with pytest.raises(Exception, match="diverged"):
        run.settle()


def test_the_store_of_a_bank_is_the_samplers() -> None:
    sampler = PairSampler(Store([0, 1], memory=10**7), DATA, scale=2, seed=0)
    assert BankSampler(sampler, DegradeConfig(), CPU).bank.shape == (2, 3, 256, 256)
