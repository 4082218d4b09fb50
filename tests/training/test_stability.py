"""What the family's documents promise of training: dips are survived, and averages are what they say (seed 001)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import paragon_arch
from paragon_arch.fusion import fuse_network
from paragon_arch.networks.dynamic import TrackedTransformer
from paragon_engine.quantize import stored_ranges
from training.average import Average
from training.config import DataConfig, GanConfig, ModelConfig, OptimConfig, Recipe, RunConfig, ValidationConfig
from training.data.pairs import make_sampler
from training.data.pictures import image_size, synthetic_image
from training.export import export
from training.losses.pixel import charbonnier
from training.state import resume, save
from training.trainer import Trainer
from training.validation import validate

RELEASE = ModelConfig(alpha=0.0, init="data")
DYNAMIC = ModelConfig("v2-magic-hr", "nano", alpha=0.0)
REPARAMETERISED = ModelConfig("v1-pixelshuffle", "nano")
SMALL = DataConfig(synthetic=4, patch=24, batch=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def made(out: Path, model: ModelConfig = RELEASE, **changes: object) -> Trainer:
    recipe = Recipe(SMALL, OptimConfig(300, lr=3e-3, warmup=5, ema=0.9), RunConfig(str(out)), model=model)
    recipe = dataclasses.replace(recipe, **changes)  # pyright: ignore[reportArgumentType]
    return Trainer(recipe, make_sampler(recipe.data, scale=2, seed=1, degrade=recipe.degrade))


def advanced(run: Trainer, steps: int) -> Trainer:
    for _ in range(steps):
        run.advance()
    return run


def probe(run: Trainer) -> float:
    """Loss of the averaged network on pictures that no step sees."""
    low, high = run.sampler.batch(10**6)
    with torch.inference_mode():
        return charbonnier(run.averaged_network()(low), high).item()


def test_a_terrible_batch_is_a_dip_from_which_the_run_recovers(tmp_path: Path) -> None:
    run = advanced(made(tmp_path), 40)
    before = probe(run)
    low, high = run.sampler.batch(run.step)
    run.advance((low, 1e4 * (1 - high)))  # finite, but thousands of times too large
    moved = max((p - run.average.values[n]).abs().max().item() for n, p in run.parameters.items())
    assert moved < 0.1  # clipping bounds what one step can do
    dip = probe(run)
    advanced(run, 30)
    assert run.skipped == 0
    assert dip < 1.3 * before
    assert probe(run) < before


@pytest.mark.parametrize("model", [RELEASE, DYNAMIC, REPARAMETERISED], ids=["release", "dynamic", "reparameterised"])
def test_averaged_weights_fuse_and_evaluate_as_the_run_itself_does(tmp_path: Path, model: ModelConfig) -> None:
    run = advanced(made(tmp_path, model), 4)
    averaged = run.averaged_network()
    x = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    run.network.eval()
    run.network.load_state_dict(run.average.state(run.network))  # the live network's own path, with these weights
    with torch.inference_mode():
        expected = run.network(x)
        assert torch.allclose(averaged(x), expected, atol=1e-5)  # other memory layout, other order of sums
        assert torch.allclose(fuse_network(averaged).network(x), expected, atol=1e-4)
    export(averaged, tmp_path / "model.safetensors", overwrite=False, recipe="{}")
    loaded = paragon_arch.load(tmp_path / "model.safetensors")  # warns, thus fails, if a flag denies its kernel
    assert (loaded.scale, loaded.report.layout) == (2, model.layout)
    assert torch.allclose(loaded.model(x), expected, atol=1e-5)


def test_tracked_kernels_are_averaged_and_their_flags_copied(tmp_path: Path) -> None:
    run = advanced(made(tmp_path, DYNAMIC), 3)
    state = run.averaged_network().state_dict()
    flags = [name for name in state if name.endswith("tracked_initialized")]
    kernels = [name for name in state if name.endswith("tracked_kernel")]
    assert flags
    assert all(bool(state[name]) for name in flags)
    live = run.network.state_dict()
    assert all(0 < (state[name] - live[name]).abs().max() < 1 for name in kernels)


def test_a_poisoned_batch_leaves_tracked_kernels_alone(tmp_path: Path) -> None:
    run = advanced(made(tmp_path, DYNAMIC), 2)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    low, high = run.sampler.batch(run.step)
    run.advance((low * float("nan"), high))
    assert run.skipped == 1
    assert all(torch.equal(before[name], value) for name, value in run.network.state_dict().items())


def test_a_poisoned_batch_leaves_the_critic_alone(tmp_path: Path) -> None:
    run = advanced(made(tmp_path, gan=GanConfig(weight=0.1, num_feat=4)), 1)
    assert run.critic is not None
    before = [p.detach().clone() for p in run.critic.parameters]
    low, high = run.sampler.batch(run.step)
    run.advance((low, high * float("inf")))
    assert all(torch.equal(a, b) for a, b in zip(before, run.critic.parameters, strict=True))


@pytest.mark.parametrize("model", [RELEASE, DYNAMIC], ids=["release", "dynamic"])
def test_recomputing_blocks_changes_nothing(tmp_path: Path, model: ModelConfig) -> None:
    optim = OptimConfig(300, lr=3e-3, warmup=5, ema=0.9, checkpointing=True)
    plain, saving = advanced(made(tmp_path, model), 3), advanced(made(tmp_path, model, optim=optim), 3)
    ours, theirs = plain.network.state_dict(), saving.network.state_dict()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    steps = [m.steps for m in saving.network.modules() if isinstance(m, TrackedTransformer)]
    assert set(steps) <= {3}


def test_bfloat16_learns_and_is_refused_where_it_would_lose_the_picture(tmp_path: Path) -> None:
    amp = OptimConfig(300, lr=3e-3, warmup=5, amp=True)
    run = made(tmp_path, optim=amp)
    first = sum(run.advance() for _ in range(5))
    advanced(run, 20)
    assert sum(run.advance() for _ in range(5)) < first
    assert all(p.dtype == torch.float32 for p in run.parameters.values())
    with pytest.raises(paragon_arch.errors.InvalidOptionError, match="amp"):
        made(tmp_path, ModelConfig("v2-magic-hr", "nano", alpha=0.5), optim=amp)


@pytest.mark.parametrize("critic", ["munet-unet", "munet-4branch"])
def test_critics_learn_to_tell_pictures_apart(tmp_path: Path, critic: str) -> None:
    gan = GanConfig(weight=0.05, critic=critic, num_feat=4, lr=1e-3, penalty_every=2, feature_matching=0.1)
    run = advanced(made(tmp_path, gan=gan), 1)
    assert {"charbonnier", "adversarial", "features", "critic", "real", "fake", "r1", "r2"} == set(run.report)
    assert run.critic is not None
    real = run.sampler.batch(0)[1]
    fake = torch.nn.functional.avg_pool2d(real, 5, stride=1, padding=2)
    reports = [run.critic.advance(real, fake, step=1, rate=1.0) for _ in range(12)]  # step 1: no penalty
    assert "r1" not in reports[0]
    margins = [report["real"] - report["fake"] for report in reports]
    assert margins[-1] > margins[0]


def test_average_of_a_network_that_jumps_is_in_between() -> None:
    layer = torch.nn.Linear(3, 3)
    average = Average(layer, 0.9)
    for _ in range(5):
        average.update(layer)
    assert torch.allclose(average.values["weight"], layer.weight)
    layer.weight.data.add_(1)
    average.update(layer)
    assert 0 < (average.values["weight"] - layer.weight + 1).mean() < 1


def test_validation_scores_and_shows_the_averaged_network(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in (20, 21):
        Image.fromarray(synthetic_image(61, seed)).save(folder / f"{seed}.png")
    config = ValidationConfig(str(folder), crop=48, samples=1)
    run = made(tmp_path)

    def scores() -> Tensor:
        result = validate(run.averaged_network(), config, device=run.device, samples=tmp_path / "samples")
        return torch.tensor([result.psnr, result.ssim, result.over_bicubic])

    before = scores()
    advanced(run, 60)
    assert (scores() > before).all()
    samples = list((tmp_path / "samples").iterdir())
    assert [path.name for path in samples] == ["20.png"]
    assert image_size(samples[0]) == (48, 3 * 48 + 8)


def test_quantisation_aware_training_keeps_and_exports_its_ranges(tmp_path: Path) -> None:
    first = advanced(made(tmp_path), 20)
    export(first.averaged_network(), tmp_path / "first.safetensors", overwrite=False)
    model = ModelConfig(alpha=0.0, start=str(tmp_path / "first.safetensors"), qat=True)
    run = advanced(made(tmp_path, model), 4)
    save(run, tmp_path / "state.safetensors")
    again = made(tmp_path, model)
    resume(again, tmp_path / "state.safetensors")
    assert run.advance() == again.advance()  # ranges are in no state dict, yet a resumed run has them
    export(again.averaged_network(), tmp_path / "qat.safetensors", overwrite=False)
    ranges = stored_ranges(tmp_path / "qat.safetensors")
    assert len(ranges) >= 10
    assert paragon_arch.load(tmp_path / "qat.safetensors").report.layout == "v2-release"
