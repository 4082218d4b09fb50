"""Timing several calls against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

import torch

Name = TypeVar("Name", bound=Hashable)


class Turns(Generic[Name]):
    """Times calls in turns, so that a disturbance of the machine hits all of them; the order turns round, too.

    In its turn a call runs twice and the second run counts: during the first one, threads of the runtime before it
    may still spin, and the caches hold that one's data.
    """

    def __init__(self, calls: Mapping[Name, Callable[[], object]], device: torch.device) -> None:
        """Calls by name; the device is the one whose queue must be empty before and after."""
        self._calls, self._device, self._turn = list(calls.items()), device, 0
        self.times: dict[Name, list[float]] = {name: [] for name in calls}
        """Seconds of every run that counts."""

    def take(self) -> None:
        """One turn of all."""
        start = self._turn % max(1, len(self._calls))
        for name, call in self._calls[start:] + self._calls[:start]:
            call()
            self.times[name].append(self._seconds(call))
        self._turn += 1

    def medians(self) -> dict[Name, float]:
        """Median seconds of each; there must have been a turn."""
        return {name: statistics.median(values) for name, values in self.times.items()}

    def _seconds(self, call: Callable[[], object]) -> float:
        self._synchronize()
        began = time.perf_counter()
        call()
        self._synchronize()
        return time.perf_counter() - began

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
