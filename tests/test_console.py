"""What reaches a terminal: lines that rewrite themselves, without escape codes where they would be shown as rubbish."""

from __future__ import annotations

import io
import os
from types import SimpleNamespace

import pytest

from paragon_engine import progress
from paragon_engine.progress import TerminalProgress, clear_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def an_ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")


def shown(stream: io.StringIO) -> str:
    """What a progress writes to a stream."""
    bar = TerminalProgress(stream)
    bar._interval = 0.0  # pyright: ignore[reportPrivateUsage]
    bar.start(4, label="tiles")
    bar.advance()
    bar.finish()
    return stream.getvalue()


def windows(monkeypatch: pytest.MonkeyPatch, *, takes_codes: bool) -> None:
    monkeypatch.setattr(progress, "os", SimpleNamespace(name="nt", environ=os.environ))

    def enable(_stream: object) -> bool:
        return takes_codes

    monkeypatch.setattr(progress, "_enable_escape_codes", enable)


def test_a_terminal_gets_the_escape_code() -> None:
    assert "\x1b[K" in shown(Terminal())


@pytest.mark.parametrize("old", ["TERM=dumb", "Windows"])
def test_an_old_console_gets_spaces(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if old == "Windows":
        windows(monkeypatch, takes_codes=False)
    else:
        monkeypatch.setenv("TERM", "dumb")
    text = shown(Terminal())
    assert "\x1b" not in text
    assert "tiles" in text
    assert text.endswith(f"\r{39 * ' '}\r"), "the line is not cleared, or its last column breaks the line"


def test_a_console_of_windows_10_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    windows(monkeypatch, takes_codes=True)
    assert "\x1b[K" in shown(Terminal())


@pytest.mark.skipif(os.name == "nt", reason="Windows can be asked")
def test_asking_where_nobody_can_be_asked() -> None:
    assert not progress._enable_escape_codes(Terminal())  # pyright: ignore[reportPrivateUsage]


def test_a_file_gets_plain_lines() -> None:
    assert clear_line(io.StringIO()) == ""
    text = shown(io.StringIO())
    assert "\r" not in text
    assert "tiles" in text
