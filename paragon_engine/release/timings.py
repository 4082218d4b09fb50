"""How fast artefacts are on this machine: measured in turns once, then remembered.

A figure of time is never the same twice. Remembering it, under the content of the file and everything else that it
depends on, is what lets two runs of a release give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from paragon_arch.errors import ParagonError

from ..backends import backend
from ..backends.choose import cache_file, processor, read_cache, write_cache
from ..backends.forms import fused
from ..inference import inference_form
from ..packages import installed, version
from ..progress import Progress, log
from ..turns import Turns
from .artefacts import Artefact, graph_artefact, network_artefact

SIDE = 256
"""Height and width of the input."""
RUNS = 7
"""Runs of each that count, in turns."""


@dataclass(frozen=True)
class Timing:
    """One artefact on one runtime."""

    file: str
    runtime: str
    milliseconds: float
    """Median."""


Timer = Callable[[Tensor], object]


def time_artefacts(
    checkpoint: Artefact, graphs: Mapping[str, bytes], *, progress: Progress | None = None
) -> list[Timing]:
    """Time a checkpoint in PyTorch, and graphs in every graph runtime that is installed.

    Args:
        checkpoint: with its network.
        graphs: by file name; dynamic ones.
        progress: advanced by turns; may cancel.
    """
    progress = progress or Progress()
    key = _key(checkpoint, graphs)
    path = cache_file().with_name("timings.json")
    remembered = read_cache(path)
    if key in remembered:
        return [Timing(*item) for item in remembered[key]["timings"]]
    timings = _measure(_timers(checkpoint, graphs), checkpoint, progress)
    stored = [[item.file, item.runtime, item.milliseconds] for item in timings]
    write_cache(path, {**remembered, key: {"timings": stored, "at": time.time()}})
    return timings


def machine() -> str:
    """What the figures hold for."""
    return f"{processor()}, {torch.get_num_threads()} threads, {platform.system()}"


def _key(checkpoint: Artefact, graphs: Mapping[str, bytes]) -> str:
    digests = [hashlib.sha256(graph).hexdigest() for graph in graphs.values()]
    versions = [version(name) for name in ("torch", "onnxruntime", "openvino") if installed(name)]
    facts = [platform.node(), machine(), SIDE, RUNS, checkpoint.sha256, list(graphs), digests, versions]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _timers(checkpoint: Artefact, graphs: Mapping[str, bytes]) -> dict[tuple[str, str], Timer]:
    timers: dict[tuple[str, str], Timer] = {}
    network = checkpoint.network
    assert network is not None
    timers[checkpoint.name, "PyTorch, as stored"] = network_artefact(network, name="").run
    form = inference_form(fused(network))

    @torch.inference_mode()
    def run_form(x: Tensor) -> Any:
        return form(x)

    timers[checkpoint.name, "PyTorch, inference form"] = run_form
    for name, graph in graphs.items():
        timers[name, "ONNX Runtime"] = graph_artefact(graph, name=name, simulate=False).run
        if installed("openvino"):
            openvino: Any = backend("openvino")
            try:
                timers[name, "OpenVINO"] = openvino.runner(graph, torch.device("cpu"))
            except (ParagonError, RuntimeError) as error:
                log.info("%s in OpenVINO: %s", name, str(error)[:200])
    return timers


def _measure(timers: dict[tuple[str, str], Timer], checkpoint: Artefact, progress: Progress) -> list[Timing]:
    image = torch.rand(1, checkpoint.channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    turns = Turns({key: partial(run, image) for key, run in timers.items()}, image.device)
    progress.start(RUNS, label="measuring the speed")
    for _ in range(RUNS):
        turns.take()
        progress.advance()
    return [Timing(*key, round(1000 * median, 1)) for key, median in turns.medians().items()]
