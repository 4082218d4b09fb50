"""Giving the heap's free pages back: when, and that it is there at all."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial

import pytest

from paragon_engine import heap


def readings(*values: int) -> Callable[[], int]:
    return partial(next, iter(values))


def test_pages_go_back_after_growth_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, trims = heap.Heap.KEPT, list[int]()
    monkeypatch.setattr(heap, "_malloc_trim", lambda: trims.append)
    subject = heap.Heap()
    # read before each image's decision, and again after giving back
    monkeypatch.setattr(heap, "resident", readings(kept + 1, 100, kept, kept + 100, kept + 101, 300, kept + 300))
    counts: list[int] = []
    for _ in range(5):
        subject.release()
        counts.append(len(trims))
    assert counts == [1, 1, 1, 2, 2]


def test_systems_without_it_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_malloc_trim", lambda: None)
    monkeypatch.setattr(heap, "resident", readings())  # reading would end in StopIteration
    heap.Heap().release()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_glibc_has_it() -> None:
    assert heap.trim()
