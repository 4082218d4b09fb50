"""FP32 against quantised, on every runtime for CPUs that is here, in turns."""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path

import torch

from ..backends import BACKENDS
from ..backends.base import GraphBackend, Runner
from ..backends.choose import processor
from ..progress import Progress
from ..turns import Turns
from .report import Speed

NAMES = ("onnxruntime", "openvino")
GRAPHS = ("fp32", "quantized")


def measure(
    fp32: bytes, quantized: bytes, *, channels: int, size: int, runs: int, progress: Progress
) -> tuple[list[Speed], dict[str, str]]:
    """Median times of both graphs, measured in turns.

    Returns:
        One `Speed` for each runtime that runs both, and the reasons of those that do not.
    """
    image = torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    lines, failed = dict[tuple[str, str], Runner](), dict[str, str]()
    for name in NAMES:
        try:
            lines |= {(name, kind): _started(name, graph, image) for kind, graph in _both(fp32, quantized)}
        except Exception as error:  # runtimes raise whatever they like about a graph that they cannot run
            failed[name] = str(error).strip().splitlines()[0][:200]
    turns = Turns({key: partial(run, image) for key, run in lines.items()}, image.device)
    progress.start(runs, label="measuring speed")
    for _ in range(runs):
        turns.take()
        progress.advance()
    medians = turns.medians()
    names = dict.fromkeys(name for name, _ in lines)
    return [Speed(name, size, *(medians[name, kind] for kind in GRAPHS)) for name in names], failed


def _both(fp32: bytes, quantized: bytes) -> tuple[tuple[str, bytes], ...]:
    return tuple(zip(GRAPHS, (fp32, quantized), strict=True))


def _started(name: str, graph: bytes, image: torch.Tensor) -> Runner:
    item = BACKENDS[name]
    assert isinstance(item, GraphBackend)
    availability = item.available()
    if not availability.usable:
        raise NotImplementedError(availability.detail)
    run = item.runner(graph, torch.device("cpu"))
    run(image)
    return run


def machine() -> dict[str, str]:
    """What the speed depends on: processor, instruction sets for INT8, system, threads."""
    return {
        "processor": processor(),
        "int8": ", ".join(instruction_sets()) or "no instructions for INT8 known",
        "system": platform.platform(terse=True),
        "threads": str(torch.get_num_threads()),
    }


def instruction_sets() -> list[str]:
    """Of this CPU: "avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp"; none where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    flags = set(text.replace(":", " ").split())
    return [name for name in ("avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp") if name in flags]
