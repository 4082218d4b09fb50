"""Progress, cancelling and logging: the one place that everything which takes long reports to."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TextIO

from paragon_arch.errors import CancelledError

log = logging.getLogger("paragonsr")
"""The logger of the project; host programs attach their own handlers."""

CLEAR_LINE = "\r\x1b[K"


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
        self._tty = self._stream.isatty()
        self._interval = 0.1 if self._tty else 10.0
        self._shown = time.monotonic()

    def show(self, *, final: bool = False) -> None:
        """Rewrite the line, at most ten times a second; clear it at the end."""
        if final:
            self._write(CLEAR_LINE if self._tty else "")
            return
        now = time.monotonic()
        if now - self._shown < self._interval:
            return
        self._shown = now
        self._write(CLEAR_LINE + self.line() if self._tty else self.line() + "\n")

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
