"""The self-test: a shipped model on every device, compared with the output that it must give."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..catalog import find_model
from .facts import Facts, Trial
from .golden import EXPECTED, HEIGHT, STRIDE, UNIT, WIDTH

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = 10.0
"""No further trial begins after this."""
LIMITS = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 4e-2}
"""Largest difference that a precision may make; NVIDIA's TF32 makes 7e-4 of FP32."""


def self_test(facts: Facts, *, seconds: float = SECONDS, only: Callable[[str], bool] = lambda device: True) -> Facts:
    """The facts with the outcome of every trial. Failures are part of them, nothing is raised.

    Args:
        facts: which devices and backends there are.
        seconds: after which trials are only listed.
        only: devices to try.
    """
    began = time.monotonic()
    trials: list[Trial] = []
    for device, backend, precision in combinations(facts):
        if not only(device):
            continue
        late = time.monotonic() - began > seconds
        trials.append(Trial(device, backend, precision, skipped=True) if late else attempt(device, backend, precision))
    return replace(facts, trials=tuple(trials))


def combinations(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """(device, backend, precision) to try: PyTorch everywhere first, then other backends that need no minutes."""
    from ..backends import BACKENDS

    usable = {item.name: item for item in facts.backends if item.usable}
    quick = [name for name, item in BACKENDS.items() if item.quick and name in usable]
    for name in sorted(quick, key=lambda name: name != "torch"):
        item = usable[name]
        for device in facts.devices:
            if device.supported and device.name.partition(":")[0] in item.devices:
                precisions = item.precisions if name == "torch" else ("fp32",)
                yield from ((device.name, name, precision) for precision in precisions)


def attempt(device: str, backend: str, precision: str) -> Trial:
    """Run the default model once."""
    began = time.monotonic()
    try:
        found = _run(device, backend, precision)
        difference = max(abs(float(a) - b * UNIT) for a, b in zip(samples(found), EXPECTED, strict=True))
        if difference != difference:  # NaN is above no limit
            difference = float("inf")
    except Exception as error:  # of any runtime: that is what is being found out
        text = " ".join(f"{error}".split()) or type(error).__name__
        return Trial(device, backend, precision, seconds=time.monotonic() - began, error=text[:300])
    return Trial(device, backend, precision, difference, LIMITS[precision], time.monotonic() - began)


def _run(device: str, backend: str, precision: Any) -> Tensor:
    import torch

    import paragon_arch

    from ..backends import BACKENDS

    model = paragon_arch.load(find_model()).to(torch.device(device))
    # the backend itself, without what repairs half precision: whether that is needed is the question
    runner = BACKENDS[backend].prepare(model.model, device=torch.device(device), precision=precision)
    return runner(picture().to(device)).cpu()


def picture() -> Tensor:
    """The input ``(1, 3, HEIGHT, WIDTH)`` in 0..1: ramps and edges, from whole numbers, so the same everywhere."""
    import torch

    rows, columns = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)[None]
    planes = (rows * 5 + columns * 3, (rows // 5 + columns // 7) % 2 * 90 + rows * 2, rows * columns % 61 + columns)
    return torch.stack([plane.to(torch.float32) for plane in planes])[None] / 256


def samples(output: Tensor) -> list[float]:
    """Values spread over an output."""
    chosen: list[float] = output.detach().reshape(-1)[::STRIDE].tolist()  # pyright: ignore[reportUnknownVariableType]
    return chosen
