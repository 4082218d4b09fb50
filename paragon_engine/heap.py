"""Giving memory that the C library keeps back to the system. With glibc on Linux alone; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path


def trim() -> bool:
    """Give all free pages of the heap back; return whether this C library can."""
    function = _malloc_trim()
    if function is not None:
        function(0)
    return function is not None


class Heap:
    """Trims where it pays.

    oneDNN keeps what it compiled for each size of image, and between those pieces glibc would keep the room of the
    maps: 1.6 GB after 500 small pictures of different sizes.
    """

    KEPT = 256 * 2**20
    """Bytes that may stay: pages that are given back must be asked for again."""

    def __init__(self) -> None:
        self._before = 0

    def release(self) -> None:
        """Call after an image: trims if the process has grown by `KEPT` since it last did."""
        if _malloc_trim() is not None and resident() > self._before + self.KEPT:
            trim()
            self._before = resident()


HEAP = Heap()
"""This process's."""


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # Windows, macOS, musl
        return None


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
