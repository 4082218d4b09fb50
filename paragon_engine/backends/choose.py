"""`auto`: the backend that was fastest on this machine for this model, measured once and remembered."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from paragon_arch.errors import ParagonError
from paragon_arch.files.atomic import atomic_path
from paragon_arch.files.records import recall
from paragon_arch.networks.base import SRNetwork

from ..packages import cache_folder, installed, version
from ..progress import log
from ..turns import Turns
from . import Backend, Precision, Runner, usable

SIDE = 192
"""Height and width of the image that is timed: a small tile."""
ROUNDS = 5
"""Runs of each candidate that count."""
KEPT = 200
"""Choices remembered; the oldest go first."""


def choose(network: SRNetwork, *, device: torch.device, precision: Precision, cache: Path | None = None) -> Backend:
    """The fastest backend for a network, from the cache or from a measurement of a few seconds.

    Backends that take minutes to prepare (torch.compile, TensorRT) are not tried: ask for them by name.

    Args:
        network: not changed.
        device: where to run.
        precision: of the computation.
        cache: file of remembered choices; None for the user's. An unreadable one is ignored and written anew.
    """
    path = cache_file() if cache is None else cache
    candidates = {item.name: item for item in usable(device, precision) if item.quick}
    key, remembered = cache_key(network, device, precision), read_cache(path)
    name = remembered.get(key, {}).get("backend")
    if isinstance(name, str) and name in candidates:
        return candidates[name]
    times = measure(network, list(candidates.values()), device=device, precision=precision)
    best = min(times, key=lambda name: times[name])
    log.info("backend %s chosen: %s", best, ", ".join(f"{n} {1000 * t:.0f} ms" for n, t in times.items()))
    write_cache(path, {**remembered, key: {"backend": best, "seconds": times, "at": time.time()}})
    return candidates[best]


def measure(
    network: SRNetwork, candidates: list[Backend], *, device: torch.device, precision: Precision
) -> dict[str, float]:
    """Median seconds of each candidate that could be prepared and run, measured in turns."""
    channels = network.hyperparameters.get("in_channels", 3)
    side = max(SIDE, network.minimum_size)
    image = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    runners: dict[str, Runner] = {}
    for item in candidates:
        try:
            runners[item.name] = item.prepare(network, device=device, precision=precision)
            runners[item.name](image)
        except (ParagonError, RuntimeError, MemoryError) as error:
            runners.pop(item.name, None)
            if item.name == "torch":
                raise
            log.info("backend %s cannot run this model: %s", item.name, str(error)[:200])
    turns = Turns({name: partial(run, image) for name, run in runners.items()}, device)
    for _ in range(ROUNDS):
        turns.take()
    return turns.medians()


def cache_key(network: SRNetwork, device: torch.device, precision: Precision) -> str:
    """What a choice depends on: machine, threads, versions, model."""
    versions = {name: version(name) for name in ("torch", "onnxruntime", "openvino") if installed(name)}
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    facts = [platform.node(), hardware, os.cpu_count(), torch.get_num_threads(), str(device), precision, versions]
    return hashlib.sha256(json.dumps([*facts, fingerprint(network)]).encode()).hexdigest()


def processor() -> str:
    """Name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def fingerprint(network: SRNetwork) -> str:
    """A hash of a network's structure and weights."""
    digest = hashlib.sha256(repr(sorted(network.hyperparameters.items())).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def cache_file() -> Path:
    """Where choices are remembered: PARAGONSR_CACHE, else the user's cache folder of the system."""
    return cache_folder() / "backends.json"


def read_cache(path: Path) -> dict[str, dict[str, Any]]:
    """Remembered choices; none where the file is missing, damaged or not ours."""
    return {key: value for key, value in recall(path).items() if isinstance(value, dict)}


def _time(choice: Mapping[str, Any]) -> float:
    at = choice.get("at")
    return at if isinstance(at, int | float) else 0


def write_cache(path: Path, choices: Mapping[str, Mapping[str, Any]]) -> None:
    """Remember choices; a folder that cannot be written is no reason to fail."""
    newest = sorted(choices.items(), key=lambda item: _time(item[1]), reverse=True)[:KEPT]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, overwrite=True) as temp:
            temp.write_text(json.dumps(dict(newest), indent=1), encoding="utf-8")
    except (OSError, ParagonError) as error:
        log.info("the choice of backend is not remembered: %s", error)
