"""Opening files in a child process that measures each of them, and figures of tests for docs/reliability.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIGURES = "PARAGONSR_FIGURES"
"""Environment variable that names the file which `note` appends to."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    name: str
    error: str
    """Class of the exception; "" if the file was opened."""
    typed: bool
    """Whether the exception is one of ours."""
    message: str
    seconds: float
    """CPU time."""
    peak: int
    """Bytes of memory taken beyond what the process had before; 0 where the system does not say."""


def open_all(kind: str, folder: Path, *, seconds: int = 540) -> dict[str, Outcome]:
    """Open every file of a folder in a child process, one after the other.

    Args:
        kind: how, a key of `tests.opening.OPENERS`.
        folder: with the files.
        seconds: after which the child is killed: a file that hangs fails the test.

    Raises:
        AssertionError: the child died; the message has the file at which it did.
    """
    command = [sys.executable, "-m", "tests.opening", kind, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"died after {lines[-1:]} with {done.returncode}: {done.stderr[-2000:]}"
    return {outcome.name: outcome for outcome in (Outcome(**json.loads(line)) for line in lines)}


def note(suite: str, cases: int, outcome: str, *, seconds: float | None = None, peak: int | None = None) -> None:
    """Keep a line of figures for docs/reliability.md, if a file for them is named."""
    file = os.environ.get(FIGURES)
    if file:
        line = {"suite": suite, "cases": cases, "outcome": outcome, "seconds": seconds, "peak": peak}
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def note_outcomes(suite: str, outcomes: dict[str, Outcome], what: str) -> None:
    """`note` for files that were opened."""
    found = outcomes.values()
    seconds, peak = max(item.seconds for item in found), max(item.peak for item in found)
    note(suite, len(found), what, seconds=seconds, peak=peak)


def as_line(outcome: Outcome) -> str:
    """For the child's output."""
    return json.dumps(asdict(outcome))
