"""Running a recipe from its pictures to its last step, with a log, a checkpoint now and then, and resuming."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from .config import DataConfig, Recipe
from .data.pairs import PairSampler, Pixels, list_images, read_image, synthetic_image
from .state import resume, save
from .trainer import Trainer, learning_rate

log = logging.getLogger(__name__)

SYNTHETIC_SIDE = 256
"""Side of a synthetic picture in pixels."""


def load_pictures(config: DataConfig) -> list[Pixels]:
    """Decode the pictures that a recipe names, and make its synthetic ones.

    Raises:
        ImageError: the folder is empty, or a picture cannot be read.
    """
    paths = [] if config.folder is None else list_images(Path(config.folder))
    synthetic = [synthetic_image(SYNTHETIC_SIDE, seed) for seed in range(config.synthetic)]
    return [*(read_image(path) for path in paths), *synthetic]


def fit(recipe: Recipe) -> Trainer:
    """Run a recipe to its end, continuing where an earlier run of it was stopped.

    Progress goes to the log of this package and to ``log.tsv`` in the run's folder (step, mean loss, learning rate).
    """
    out = Path(recipe.run.out)
    out.mkdir(parents=True, exist_ok=True)
    images = load_pictures(recipe.data)
    sampler = PairSampler(images, recipe.data, scale=recipe.model.scale, seed=recipe.run.seed)
    trainer, state = Trainer(recipe, sampler), out / "state.safetensors"
    if state.exists():
        resume(trainer, state)
        log.info("continuing %s at step %d", state, trainer.step)
    log.info("%d pictures, %d parameters", len(images), sum(p.numel() for p in trainer.network.parameters()))
    _run(trainer, out, state)
    return trainer


def _run(trainer: Trainer, out: Path, state: Path) -> None:
    run, steps = trainer.recipe.run, trainer.recipe.optim.steps
    started, first, losses = time.monotonic(), trainer.step, list[float]()
    while trainer.step < steps:
        losses.append(trainer.advance())
        if trainer.step % run.log_every == 0 or trainer.step == steps:
            rate = (time.monotonic() - started) / (trainer.step - first)
            _report(trainer, out, sum(losses) / len(losses), rate)
            losses.clear()
        if trainer.step % run.save_every == 0 or trainer.step == steps:
            save(trainer, state)


def _report(trainer: Trainer, out: Path, loss: float, seconds_per_step: float) -> None:
    config, step = trainer.recipe.optim, trainer.step
    left = seconds_per_step * (config.steps - step)
    text = "step %d/%d  loss %.5f  %.2f s/step  %.0f min left  %d skipped"
    log.info(text, step, config.steps, loss, seconds_per_step, left / 60, trainer.skipped)
    with (out / "log.tsv").open("a", encoding="utf-8") as file:
        file.write(f"{step}\t{loss:.6f}\t{learning_rate(config, step - 1):.3g}\n")
