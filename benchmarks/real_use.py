"""Long runs that a test suite has no time for: memory over many pictures and frames, kills, throughput, two workers.

``python -m benchmarks.real_use images|frames|kills|throughput|shards [--count N] [--model FILE]``
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from paragon_engine import Upscaler
from paragon_engine.catalog import find_model
from paragon_engine.heap import resident
from paragon_engine.jobs import FolderOptions, Shard, upscale_files
from paragon_engine.packages import require
from paragon_engine.pictures import read_image
from paragon_engine.progress import Progress
from paragon_engine.upscale import upscale_picture
from paragon_engine.video import EncodeOptions, FrameSettings, VideoSettings, upscale_video


class Meter(Progress):
    """Notes memory after every unit of work."""

    def __init__(self) -> None:
        super().__init__()
        self.readings: list[tuple[float, float]] = []

    def advance(self, amount: float = 1.0, *, label: str | None = None) -> None:
        """Count and measure."""
        before = int(self.done)
        super().advance(amount, label=label)
        if int(self.done) > before:
            self.readings.append((self.done, resident() / 1e6))

    def report(self, unit: str) -> None:
        """Peak, the peaks of the four quarters, and the slope over the second half."""
        late = np.array(self.readings[len(self.readings) // 2 :])
        slope = np.polyfit(late[:, 0], late[:, 1], 1)[0]
        peaks = [max(part) for part in np.array_split([value for _, value in self.readings], 4)]
        quarters = ", ".join(f"{value:.0f}" for value in peaks)
        print(f"{len(self.readings)} {unit}: peak {max(peaks):.0f} MB, of the quarters {quarters} MB; "
              f"slope {1000 * slope:+.1f} kB per {unit[:-1]}")  # fmt: skip


def make_pictures(folder: Path, count: int, sides: tuple[int, int]) -> None:
    """Pictures of random sizes and three formats."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(count):
        height, width = (int(side) for side in rng.integers(*sides, 2))
        coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        image.save(folder / f"{index:04}.{('jpg', 'png', 'webp')[index % 3]}")


def images(model: Upscaler, scratch: Path, count: int) -> None:
    """Memory over a folder of pictures of random sizes."""
    make_pictures(scratch / "in", count, (24, 400))
    meter = Meter()
    summary = upscale_files(model, scratch / "in", scratch / "out", progress=meter)
    print(summary)
    meter.report("pictures")


def frames(model: Upscaler, scratch: Path, count: int) -> None:
    """Memory over the frames of a video."""
    av = require("av", "this run")
    rng = np.random.default_rng(0)
    with av.open(str(scratch / "in.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for _ in range(count):
            picture = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    meter = Meter()
    settings = VideoSettings(FrameSettings(feedback=0.2), EncodeOptions("h264", preset="ultrafast"))
    print(upscale_video(model, scratch / "in.mp4", scratch / "out.mp4", settings, progress=meter))
    meter.report("frames")


def kills(model: Upscaler, scratch: Path, count: int) -> None:
    """SIGKILL at random moments of a folder job; then what lies there, and whether a last run completes it.

    The job runs in a child that forked from this process, so that the moments fall into the work and not into the
    start of an interpreter.
    """
    torch.set_num_threads(1)
    make_pictures(scratch / "in", 60, (60, 200))
    sizes = {path.stem: Image.open(path).size for path in (scratch / "in").iterdir()}
    whole_run = _timed(lambda: upscale_files(model, scratch / "in", scratch / "out"))
    moments = 0.02, 0.5 * whole_run  # about half of the results are there each time
    rng, partial, killed, runs = random.Random(0), 0, 0, 0  # noqa: S311 - no cryptography
    while killed < count:
        runs += 1
        child = os.fork()
        if child == 0:
            upscale_files(model, scratch / "in", scratch / "out", options=FolderOptions(verify=True))
            os._exit(0)
        time.sleep(rng.uniform(*moments))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        for path in (scratch / "out").glob("[0-9]*"):
            width, height = sizes[path.stem]
            try:
                partial += read_image(path).size != (2 * width, 2 * height)
            except Exception:
                partial += 1
            if rng.random() < 0.5:
                path.unlink()  # so that there is always work left
    summary = upscale_files(model, scratch / "in", scratch / "out", options=FolderOptions(verify=True))
    left = [path.name for path in (scratch / "out").iterdir() if path.name.startswith(".")]
    whole = len(list((scratch / "out").iterdir()))
    print(f"{killed} of {runs} runs killed in the work, {partial} partial outputs; then: {summary}")
    print(f"{whole} files of 60, {len(left)} left-over temporary files")


def throughput(model: Upscaler, scratch: Path, count: int) -> None:
    """A folder job against the network alone on the same pictures."""
    make_pictures(scratch / "in", count, (200, 400))
    loaded = [read_image(path) for path in sorted((scratch / "in").iterdir())]
    alone: list[float] = []
    job: list[float] = []
    for turn in range(3):
        alone.append(_timed(lambda: [upscale_picture(model, picture) for picture in loaded]))
        target = scratch / f"out{turn}"
        job.append(_timed(lambda target=target: upscale_files(model, scratch / "in", target)))
    print(f"{count} pictures: network alone {min(alone):.2f} s, folder job {min(job):.2f} s, "
          f"{100 * (min(job) / min(alone) - 1):+.1f} %")  # fmt: skip


def shards(model: Upscaler, scratch: Path, count: int) -> None:
    """One process with one thread against two, each with its shard; the model is loaded, the processes are forked."""
    make_pictures(scratch / "in", count, (200, 400))

    def run(target: Path, workers: int) -> None:
        children: list[int] = []
        for index in range(1, workers + 1):
            children.append(os.fork())
            if children[-1] == 0:
                upscale_files(model, scratch / "in", target, options=FolderOptions(shard=Shard(index, workers)))
                os._exit(0)
        if any(os.waitpid(child, 0)[1] for child in children):
            raise SystemExit("a worker failed")

    times: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(3):
        for workers, kept in times.items():
            target = scratch / f"out{turn}-{workers}"
            kept.append(_timed(lambda target=target, workers=workers: run(target, workers)))
    one, two = min(times[1]), min(times[2])
    print(f"{count} pictures: one worker {one:.2f} s, two {two:.2f} s, {one / two:.2f} times as fast")


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


RUNS = {
    "images": (images, 500),
    "frames": (frames, 2000),
    "kills": (kills, 200),
    "throughput": (throughput, 24),
    "shards": (shards, 48),
}


def main() -> int:
    """Run one of `RUNS`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--count", type=int)
    parser.add_argument("--model")
    args = parser.parse_args()
    work, usual = RUNS[args.run]
    torch.set_num_threads(1)
    # on the CPU: the runs fork, and count its threads and memory
    with tempfile.TemporaryDirectory() as scratch, Upscaler(find_model(args.model), device="cpu") as model:
        work(model, Path(scratch), args.count or usual)
    return 0


if __name__ == "__main__":
    sys.exit(main())
