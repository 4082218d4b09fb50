"""The tests of models on the device, and fifty steps of training with a resume."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from .schedule import Case, Values

PART = "tests and training"
ROOT = Path(__file__).resolve().parents[2]
FILES = (
    ("tests/engine/test_backends.py", 1),
    ("tests/engine/test_exact_runs.py", 1),
    ("tests/test_upscale.py", 1),
    ("tests/engine/test_overlap_tiling.py", 2),
    ("tests/nodes/test_upscale_node.py", 2),
    ("tests/test_video.py", 3),
    ("tests/engine/test_exact_tiling.py", 3),
)
"""Files of tests, and importance."""


def cases(device: torch.device, *, tiny: bool, left: Callable[[], float]) -> Iterator[Case]:
    """All of this part; ``left`` says how many seconds a case may take."""
    for file, importance in [("tests/engine/test_turns.py", 1)] if tiny else FILES:
        yield Case(PART, file, partial(tests, file, device, left), importance)
    yield Case(PART, "training: fifty steps and a resume", partial(training, device, 4 if tiny else 50, left), 1)


def tests(file: str, device: torch.device, left: Callable[[], float]) -> Values:
    """One file of tests in a process of its own."""
    variables = {**os.environ, "PARAGONSR_TEST_DEVICE": str(device)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow and not exhaustive",
        file,
    ]
    done = _run(command, variables, left())
    summary = done.stdout.strip().splitlines()[-1:] or [done.stderr.strip()[-200:]]
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, flags=re.MULTILINE)
    return {"summary": summary[0], "failed": failed, "passed": done.returncode == 0}


def training(device: torch.device, steps: int, left: Callable[[], float]) -> Values:
    """A small run with mixed precision, stopped half-way and continued by another process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe, out = folder / "recipe.toml", folder / "run"
        amp = str(device.type == "cuda").lower()  # a CPU has no fast BF16
        recipe.write_text(_RECIPE.format(steps=steps, out=out.as_posix(), device=device, amp=amp), encoding="utf-8")
        began = time.perf_counter()
        for command in (["-c", _HALF, str(recipe)], ["-m", "training", "fit", str(recipe)]):
            done = _run([sys.executable, *command], dict(os.environ), left())
            if done.returncode:
                return {"error": (done.stderr or done.stdout).strip()[-400:], "passed": False}
        seconds = time.perf_counter() - began
        resumed = f"at step {steps // 2}" in done.stderr
        return {"seconds": seconds, "resumed": resumed, "passed": resumed and (out / "model.safetensors").is_file()}


_HALF = """
import sys
from pathlib import Path
from training import loop
from training.recipe_file import read_recipe
from training.state import save
recipe = read_recipe(Path(sys.argv[1]))
trainer = loop.start(recipe)
for batch in loop.batches(trainer.sampler, 0, recipe.optim.steps // 2, pin=trainer.device.type == "cuda"):
    trainer.advance(batch)
save(trainer, Path(recipe.run.out) / "state.safetensors")
"""
_RECIPE = """
[model]
variant = "realtime"
scale = 2
alpha = 0.0

[data]
synthetic = 8
patch = 48
batch = 8

[optim]
steps = {steps}
warmup = 2
lr = 1e-3
amp = {amp}

[run]
out = "{out}"
device = "{device}"
log_every = 10
save_every = 1000
"""


def _run(command: list[str], variables: dict[str, str], seconds: float) -> subprocess.CompletedProcess[str]:
    limit = max(1.0, seconds)
    return subprocess.run(  # noqa: S603 - our own tests
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=limit
    )
