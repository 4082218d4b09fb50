"""Progress, cancelling and logging: the one place that everything which takes long reports to."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from typing import Any, TextIO

from paragon_arch.errors import CancelledError

log = logging.getLogger("paragonsr")
"""The logger of the project; host programs attach their own handlers."""

_CLEAR_LINE = "\r\x1b[K"
_VIRTUAL_TERMINAL = 4
"""Windows' ENABLE_VIRTUAL_TERMINAL_PROCESSING."""


def clear_line(stream: TextIO) -> str:
    """What to write to clear the line that a terminal is at; "" for a file or a pipe.

    A console that takes no escape codes (Windows before 10, or with them turned off; TERM=dumb) gets spaces.
    """
    if not stream.isatty():
        return ""
    if _takes_escape_codes(stream):
        return _CLEAR_LINE
    return f"\r{' ' * (shutil.get_terminal_size().columns - 1)}\r"


def _takes_escape_codes(stream: TextIO) -> bool:
    if os.environ.get("TERM") == "dumb":
        return False
    return os.name != "nt" or _enable_escape_codes(stream)


def _enable_escape_codes(stream: TextIO) -> bool:
    """Ask a Windows console to understand escape codes, which it does not before it is asked; False if it cannot."""
    try:
        import ctypes
        import msvcrt

        handle: int = getattr(msvcrt, "get_osfhandle")(stream.fileno())  # noqa: B009 - exists on Windows alone
        kernel: Any = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009
        mode = ctypes.c_ulong()
        place = ctypes.c_void_p(handle)
        return bool(kernel.GetConsoleMode(place, ctypes.byref(mode))) and bool(
            kernel.SetConsoleMode(place, mode.value | _VIRTUAL_TERMINAL)
        )
    except (ImportError, AttributeError, OSError, ValueError):
        return False


class Progress:
    """How far a piece of work is. This base class shows nothing; sub-classes override `show`.

    A worker calls `start`, then `advance` for every step, then `finish`. `part` hands a share of the work to a
    function that counts in units of its own. Another thread may call `cancel` at any time; the worker then gets a
    `CancelledError` from its next `advance` or `raise_if_cancelled`.
    """

    def __init__(self) -> None:
        self.total = 0.0
        """Units of work; 0 where unknown."""
        self.done = 0.0
        """Units finished."""
        self.label = ""
        """What is being worked on."""
        self.unit = ""
        """Name of a unit, in the plural; "" where counting them means nothing to the user."""
        self._began = time.monotonic()
        self._cancelled = threading.Event()

    def start(self, total: float, *, label: str = "", unit: str = "") -> None:
        """Begin (again) with ``total`` units of work."""
        self.total, self.done, self.label, self.unit = total, 0.0, label, unit
        self._began = time.monotonic()
        self.show()

    def advance(self, amount: float = 1.0, *, label: str | None = None) -> None:
        """Count ``amount`` units as finished.

        Raises:
            CancelledError: `cancel` was called.
        """
        self.raise_if_cancelled()
        self.done += amount
        if label is not None:
            self.label = label
        self.show()

    def finish(self) -> None:
        """The work is over, whether it was completed or not."""
        self.show(final=True)

    def part(self, share: float = 1.0) -> Progress:
        """A progress whose whole run advances this one by ``share`` units."""
        return _Part(self, share)

    def cancel(self) -> None:
        """Ask the worker to stop. Safe from any thread."""
        self._cancelled.set()

    def raise_if_cancelled(self) -> None:
        """Raise `CancelledError` if `cancel` was called."""
        if self._cancelled.is_set():
            raise CancelledError("stopped by the user")

    @property
    def elapsed(self) -> float:
        """Seconds since `start`."""
        return time.monotonic() - self._began

    @property
    def rate(self) -> float:
        """Units per second so far; 0 before the first one."""
        return self.done / self.elapsed if self.done and self.elapsed else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds that are left at the present rate; None while nothing is known."""
        return max(0.0, self.total - self.done) / self.rate if self.rate and self.total else None

    def show(self, *, final: bool = False) -> None:
        """Called at every change; the base class shows nothing."""


class _Part(Progress):
    """A share of another progress."""

    def __init__(self, parent: Progress, share: float) -> None:
        super().__init__()
        self._parent, self._share = parent, share

    def advance(self, amount: float = 1.0, *, label: str | None = None) -> None:
        self.done += amount
        self._parent.advance(self._share * amount / self.total if self.total else 0.0, label=label)

    def cancel(self) -> None:
        self._parent.cancel()

    def raise_if_cancelled(self) -> None:
        self._parent.raise_if_cancelled()


class TerminalProgress(Progress):
    """One line that rewrites itself on a terminal; an occasional plain line where the stream is a file or a pipe."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = sys.stderr if stream is None else stream
        self._tty, self._clear = self._stream.isatty(), clear_line(self._stream)
        self._interval = 0.1 if self._tty else 10.0
        self._shown = time.monotonic()

    def show(self, *, final: bool = False) -> None:
        """Rewrite the line, at most ten times a second; clear it at the end."""
        if final:
            self._write(self._clear)
            return
        now = time.monotonic()
        if now - self._shown < self._interval:
            return
        self._shown = now
        self._write(self._clear + self.line() if self._tty else self.line() + "\n")

    def line(self) -> str:
        """The present state in words: label, percentage, count, rate and time left."""
        parts = [self.label] if self.label else []
        parts.append(f"{100 * self.done / self.total if self.total else 0:3.0f}%")
        if self.unit:
            parts.append(f"{int(self.done + 1e-6)}/{int(self.total)} {self.unit}")
        if self.unit and self.rate:
            parts.append(f"{self.rate:.3g} {self.unit}/s")
        if self.eta is not None:
            parts.append(f"{duration(self.eta)} left")
        return "  ".join(parts)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds as people write them: ``8 s``, ``3:05``, ``1:02:09``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
