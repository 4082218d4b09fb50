"""A disk that fails, is full or read-only, and processes that are killed, at every change that is made to the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.injection import build_shim
from tests.faults.writers import WRITERS
from tests.measuring import ROOT, note

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux is what the shim stands before"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the shim"),
]


@pytest.mark.parametrize("places", [2, pytest.param(0, marks=pytest.mark.exhaustive)])
def test_every_writer(places: int, tmp_path: Path) -> None:
    """A typed error, old files intact, nothing half-made, nothing left behind, and the next run succeeds."""
    environment = {**os.environ, "LD_PRELOAD": str(build_shim(tmp_path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.faults.injection", str(places)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=3600)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert set(figures) == set(WRITERS)
    for name, found in figures.items():
        outcomes = found["outcomes"]
        kinds = {key.split(":")[0] for key in outcomes}
        assert kinds == {"EIO", "disk full", "read-only", "killed"}, name
        assert outcomes.get("killed: killed"), name
        told = ", ".join(f"{key} {count}" for key, count in sorted(outcomes.items()))
        note(f"disk faults: {name}, {found['calls']} changes", sum(outcomes.values()), told)
