"""Running a recipe from its pictures to its last step, with a log, a checkpoint now and then, and resuming."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from paragon_arch.errors import InvalidOptionError
from paragon_arch.files.atomic import make_folder

from .config import DegradeConfig, Recipe
from .data.bank import BankSampler
from .data.pairs import batches, make_sampler
from .distributed import World, choose_device, joined
from .export import export
from .logs import RunLog
from .schedule import learning_rate
from .state import branch, fingerprint, resume, save
from .trainer import Trainer
from .validation import validate

log = logging.getLogger(__name__)


def fit(recipe: Recipe) -> Trainer:
    """Run a recipe to its end, continuing where an earlier run of it was stopped.

    Writes into the run's folder: ``log.tsv`` (see `RunLog`), ``state.safetensors`` (see `training.state`), sample
    pictures, and in the end ``model.safetensors``, the averaged network.

    Raises:
        ParagonError: anything that the recipe needs is missing (before the first step), or training diverged.
    """
    device = choose_device(recipe.run.device)
    with joined(device) as world:
        trainer = start(recipe, device=device, world=world)
        run(trainer)
        if world.leads:
            result = Path(recipe.run.out) / "model.safetensors"
            export(trainer.averaged_network(), result, overwrite=True, recipe=fingerprint(recipe))
    return trainer


def start(recipe: Recipe, *, device: torch.device | None = None, world: World | None = None) -> Trainer:
    """A trainer for a recipe, in the state of its last checkpoint if there is one."""
    out = Path(recipe.run.out)
    make_folder(out)
    found = device or choose_device(recipe.run.device)
    sampler = make_sampler(
        recipe.data, scale=recipe.model.scale, seed=recipe.run.seed, degrade=recipe.degrade, world=world
    )
    source = BankSampler(sampler, recipe.degrade, found) if recipe.data.bank else sampler
    trainer, state = Trainer(recipe, source, found, world), out / "state.safetensors"
    if state.exists():
        resume(trainer, state)
        log.info("continuing %s at step %d", state, trainer.step)
    elif recipe.run.branch is not None:
        branch(trainer, Path(recipe.run.branch))
    parameters = sum(p.numel() for p in trainer.network.parameters())
    log.info("%d pictures, %d parameters, on %s", len(sampler.store), parameters, found)
    return trainer


def restore(recipe: Recipe) -> Trainer:
    """The trainer of a run as its last checkpoint has it, without its pictures: to export, not to train.

    Raises:
        InvalidOptionError: the run has no checkpoint yet, or it is of another recipe.
    """
    state = Path(recipe.run.out) / "state.safetensors"
    if not state.exists():
        raise InvalidOptionError(f"{state}: there is no checkpoint of this run yet")
    synthetic = replace(recipe.data, folder=None, low_folder=None, synthetic=1, patch=recipe.model.scale, mix={})
    sampler = make_sampler(synthetic, scale=recipe.model.scale, seed=recipe.run.seed, degrade=DegradeConfig())
    plain = replace(recipe.model, init="default")
    trainer = Trainer(replace(recipe, model=plain, losses={"l1": 1.0}), sampler)
    trainer.recipe = recipe
    resume(trainer, state)
    return trainer


def run(trainer: Trainer) -> None:
    """Train to the last step of the recipe."""
    recipe, leads = trainer.recipe, trainer.world.leads
    steps, out = recipe.optim.steps, Path(recipe.run.out)
    tensorboard = recipe.run.tensorboard and leads
    record = RunLog(out, steps=steps, first=trainer.step, tensorboard=tensorboard)
    for batch in _batches(trainer, steps):
        loss = trainer.train_step(batch)
        record.add({"loss": loss, **(trainer.report if len(trainer.report) > 1 else {})})
        last = trainer.step == steps
        if last or trainer.step % recipe.run.log_every == 0 or trainer.step % recipe.run.save_every == 0:
            trainer.settle()
        if leads:
            _write(trainer, record, last=last)


def _batches(trainer: Trainer, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches from the trainer's step on."""
    if isinstance(trainer.sampler, BankSampler):
        return (trainer.sampler.batch(step) for step in range(trainer.step, steps))
    return batches(trainer.sampler, trainer.step, steps, pin=trainer.device.type == "cuda")


def _write(trainer: Trainer, record: RunLog, *, last: bool) -> None:
    recipe, step = trainer.recipe, trainer.step
    if last or step % recipe.run.log_every == 0:
        record.report(step, learning_rate(recipe.optim, step - 1), trainer.skipped)
    if last or step % recipe.run.save_every == 0:
        save(trainer, Path(recipe.run.out) / "state.safetensors")
    config = recipe.validation
    if config.folder is not None and (last or step % config.every == 0):
        samples = Path(recipe.run.out) / "samples" / f"{step:07d}" if config.samples else None
        scores = validate(trainer.averaged_network(), config, device=trainer.device, samples=samples)
        log.info("PSNR-Y %.2f dB (%+.2f over bicubic), SSIM-Y %.4f", scores.psnr, scores.over_bicubic, scores.ssim)
        values = {"psnr": scores.psnr, "ssim": scores.ssim, "over_bicubic": scores.over_bicubic}
        record.write(step, values)
