"""Kill releases at random moments, run them again, and compare every byte with a release that nobody disturbed.

    python -m tests.release.killing 50

Each release makes FP32 and FP16, every fifth INT8, too. It runs in a fork of this process, which has imported
everything, so that moments are spread over the work.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from paragon_engine.packages import require
from paragon_engine.release.run import release
from paragon_engine.release.settings import ReleaseSettings
from tests.engine_models import checkpoint

for _name in ("onnx", "onnxruntime", "onnxslim"):
    require(_name, "the test")


EVERY = 5
"""Every so many releases, one makes INT8, which takes `INT8_LASTS` times as long."""
INT8_LASTS = 3


def pictures(folder: Path, count: int = 2, side: int = 48) -> Path:
    """A folder of small pictures with edges."""
    folder.mkdir(exist_ok=True)
    for seed in range(count):
        blocks = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{seed}.png")
    return folder


def settings(folder: Path, output: Path, *, int8: bool = False) -> ReleaseSettings:
    """A small release, without speeds: their memory is tested elsewhere."""
    path = folder / "2x_tiny.safetensors"
    if not path.exists():
        checkpoint(path)
        pictures(folder / "pictures")
        pictures(folder / "calibration", count=4, side=72)
    calibration = (folder / "calibration",) if int8 else ()
    return ReleaseSettings(path, output, pictures=(folder / "pictures",), calibration=calibration, speed=False)


def start(chosen: ReleaseSettings) -> int:
    """Release in a fork; returns its process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            torch.set_num_threads(1)
            release(chosen)
            code = 0
        finally:
            os._exit(code)
    return pid


def finish(pid: int) -> int:
    """Wait for a fork; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_and_repeat(chosen: ReleaseSettings, delay: float) -> bool:
    """Kill a release after ``delay`` seconds and run it again; whether it was killed in time.

    Raises:
        AssertionError: something half-made had its final name, or the second run failed.
    """
    pid = start(chosen)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    killed = finish(pid) == -signal.SIGKILL
    if killed and chosen.output.exists():
        assert (chosen.output / "manifest.json").exists(), "half a release has its final name"
    assert finish(start(chosen)) == 0, "the second run failed"
    return killed


def main(count: int) -> int:
    """Kill ``count`` releases before they end; 0 if all ended with the same bytes."""
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PARAGONSR_CACHE"] = str(folder / "cache")
        assert finish(start(settings(folder, folder / "whole", int8=True))) == 0
        whole = {True: content(folder / "whole")}
        began = time.monotonic()
        assert finish(start(settings(folder, folder / "plain"))) == 0
        duration, whole[False] = time.monotonic() - began, content(folder / "plain")
        killed = index = 0
        while killed < count:
            int8 = killed % EVERY == 0
            chosen, expected = settings(folder, folder / f"killed{index}", int8=int8), whole[int8]
            killed += kill_and_repeat(chosen, generator.uniform(0, duration * (INT8_LASTS if int8 else 1)))
            found = content(chosen.output)
            wrong = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
            assert not wrong, f"release {index} differs in {wrong}"
            left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
            assert not left, f"left behind: {left}"
            index += 1
    sys.stdout.write(f"{killed} kills in {index} releases of {duration:.1f} s, all with the same bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
