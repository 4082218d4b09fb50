"""The child of `tests.measuring.open_all`: python -m tests.opening KIND FOLDER."""

from __future__ import annotations

import gc
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

import paragon_arch
from paragon_arch.errors import ParagonError
from paragon_engine.backends.graph_file import open_graph
from paragon_engine.benchmark.memory import peak_bytes
from paragon_engine.pictures import read_image
from paragon_engine.video import probe, read_frames
from tests.measuring import Outcome, as_line

CPU = torch.device("cpu")
ADDRESS_SPACE = 3 * 2**30
"""Bytes that a file may claim before the system refuses: far above the tests' limit, far below the machine's memory."""


def _load(path: Path) -> None:
    paragon_arch.load(path)


def _page(path: Path) -> None:
    """By both pages of ComfyUI's server; an answer that says what is wrong is raised as such."""
    from nodes import card, host, recognition

    host.model_names, host.model_path = lambda: [path.name], lambda _: str(path)
    for page in (card.page, recognition.answer):
        status, text = page({"model": path.name})
        assert status == 200, text
    answer = json.loads(text)
    if answer["state"] == "unusable":
        raise ParagonError(answer["details"])


def _spandrel(path: Path) -> None:
    import spandrel

    from paragon_arch.spandrel_support import register

    register()
    spandrel.ModelLoader().load_from_file(path)


def _image(path: Path) -> None:
    read_image(path, max_pixels=24_000_000)


def _video(path: Path) -> None:
    for _ in read_frames(probe(path), CPU):
        pass


def _graph(path: Path) -> None:
    open_graph(path)


OPENERS: dict[str, Callable[[Path], None]] = {
    "checkpoint": _load,
    "page": _page,
    "spandrel": _spandrel,
    "image": _image,
    "video": _video,
    "graph": _graph,
}


def opened(path: Path, opener: Callable[[Path], None]) -> Outcome:
    """Open a file and measure."""
    caught: list[Exception] = []

    def work() -> None:
        try:
            opener(path)
        except Exception as error:  # which it was is what the test wants to know
            error.__traceback__ = None
            caught.append(error)

    begun = time.process_time()
    peak = peak_bytes(work, CPU) or 0
    seconds = time.process_time() - begun
    error = caught[0] if caught else None
    kind = type(error).__name__ if error else ""
    return Outcome(path.name, kind, isinstance(error, ParagonError), str(error or "")[:300], seconds, peak)


def limit_memory() -> None:
    """Let the system refuse more than `ADDRESS_SPACE` beyond what the process has, where it can."""
    if sys.platform == "linux":
        import resource

        size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE, resource.RLIM_INFINITY))


def main(kind: str, folder: Path) -> None:
    """Open every file, a line of JSON for each."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    limit_memory()
    for path in sorted(folder.iterdir()):
        sys.stdout.write(as_line(opened(path, OPENERS[kind])) + "\n")
        sys.stdout.flush()
        gc.collect(0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
