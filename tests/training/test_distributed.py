"""Two processes do what one does with the double batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import paragon_arch
from paragon_arch.errors import InvalidOptionError
from training.distributed import World, average_over_processes, choose_device
from training.loop import fit
from training.recipe_file import read_recipe

RECIPE = """
[model]
alpha = 0.0
init = "data"
[data]
synthetic = 2
patch = 24
batch = {batch}
[optim]
steps = 5
lr = 2e-3
warmup = 2
[run]
out = "{out}"
device = "cpu"
"""


def test_two_processes_equal_one_with_the_double_batch(tmp_path: Path, root: Path) -> None:
    for name, batch in (("one", 4), ("two", 2)):
        text = RECIPE.format(batch=batch, out=(tmp_path / name).as_posix())
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    fit(read_recipe(tmp_path / "one.toml"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["training", "--threads", "1", "fit", str(tmp_path / "two.toml")]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model.safetensors") == 1  # one process writes
    one, two = (paragon_arch.load(tmp_path / name / "model.safetensors").model.state_dict() for name in ("one", "two"))
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=2e-4), name
    last = [(tmp_path / name / "log.tsv").read_text().split("\t")[1] for name in ("one", "two")]
    assert float(last[0]) == pytest.approx(float(last[1]), rel=1e-3)


def test_alone_nothing_is_exchanged() -> None:
    x = torch.ones(3)
    average_over_processes([x], World())
    assert x.tolist() == [1, 1, 1]


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidOptionError, match=r"run\.device = 'abacus'"):
        choose_device("abacus")
