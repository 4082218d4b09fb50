"""Everything that the program says to a person: notes and errors on standard error, tables on standard output."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TextIO

from paragon_arch.errors import ParagonError
from paragon_engine.progress import Progress, TerminalProgress, clear_line

from .exit_codes import ExitCode


class _Handler(logging.Handler):
    """Log records as single lines, without tearing the progress line."""

    def emit(self, record: logging.LogRecord) -> None:
        clear = clear_line(sys.stderr)
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        _write(sys.stderr, f"{clear}{prefix}{printable(text)}\n")


@contextmanager
def messages(*, quiet: bool) -> Generator[None, None, None]:
    """Show the project's log and its warnings on standard error for the duration of the block."""
    logger, handler = logging.getLogger("paragonsr"), _Handler()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    logging.getLogger("paragonsr").warning("%s", message)


def progress(*, quiet: bool) -> Progress:
    """Where a command reports its progress to."""
    return Progress() if quiet else TerminalProgress()


def report(error: BaseException, code: ExitCode) -> ExitCode:
    """Tell an error in one line and return its exit code."""
    _write(sys.stderr, f"{clear_line(sys.stderr)}error: {describe(error, code)}\n")
    return code


def describe(error: BaseException, code: ExitCode) -> str:
    """An error in one line, with the option that settles it where there is one."""
    if code is ExitCode.CANCELLED:
        return "stopped; nothing half-made was left behind"
    text = printable(" ".join(str(error).split())) or type(error).__name__
    if code is ExitCode.UNEXPECTED and not isinstance(error, (MemoryError, ParagonError)):
        text = f"unexpected {type(error).__name__}: {text} (PARAGONSR_DEBUG=1 shows where)"
    option = getattr(error, "option", None)
    if option is not None and (flag := "--" + option.replace("_", "-")) not in text:
        likely = ", ".join(f"{value:g}" for value in getattr(error, "candidates", ()))
        text += f" (give {flag}{f'; likeliest first: {likely}' if likely else ''})"
    return text


def say(text: str) -> None:
    """Write a line of results."""
    _write(sys.stdout, printable(text) + "\n")


def _write(stream: TextIO | None, text: str) -> None:
    """Write, with escapes for what the stream's code page lacks; a program without a console has no stream."""
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def tolerate_code_pages() -> None:
    """Let what others print (the manual of a command, warnings of libraries) have escapes instead of an error, too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Text without control characters: names inside a file must not command the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as aligned lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
