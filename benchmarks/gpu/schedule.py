"""Cases, and how they are fitted into a budget: results are on the disk after every one of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from paragon_arch.files.atomic import atomic_path

Outcome = Literal["passed", "failed", "measured", "error", "left out"]
Values = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One thing to find out."""

    part: str
    name: str
    run: Callable[[], Values]
    """Returns what was found; the key "passed", if it is there, is the verdict."""
    importance: int = 2
    """1 is the most important; what is less important is left out first."""


@dataclass
class Result:
    """What came of a case."""

    part: str
    name: str
    outcome: Outcome
    seconds: float = 0.0
    values: Values = field(default_factory=dict[str, Any])
    error: str = ""


@dataclass
class Report:
    """Everything that is written."""

    device: str
    budget: float
    facts: Values = field(default_factory=dict[str, Any])
    results: list[Result] = field(default_factory=list[Result])
    spent: float = 0.0

    def write(self, path: Path) -> None:
        """Replace the file by the present state."""
        with atomic_path(path, overwrite=True) as temp:
            temp.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def read(text: str) -> Report:
        """What `write` wrote."""
        content: dict[str, Any] = json.loads(text)
        results = [Result(**item) for item in content.pop("results")]
        return Report(**content, results=results)


@dataclass(frozen=True)
class Part:
    """Some cases, and their share of the budget."""

    name: str
    share: float
    """Relative to those of the other parts."""
    cases: Sequence[Case]


def run_parts(
    parts: Sequence[Part],
    report: Report,
    *,
    write: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
    tell: Callable[[str], None] = print,
) -> None:
    """Run as many cases as the budget allows.

    Each part gets its share of the time that is left when it begins, so that what one does not need goes to the next
    ones; within a part the most important cases come first. At the end, what is left of the budget goes to the cases
    that were left out, the most important first. A case that has begun is not stopped.

    Args:
        parts: in order.
        report: gets the results.
        write: called after every case.
        clock: seconds.
        tell: gets a line for every case.
    """
    began = clock()
    waiting: list[Case] = []
    for index, part in enumerate(parts):
        left = report.budget - (clock() - began)
        until = clock() + left * part.share / sum(later.share for later in parts[index:])
        for case in sorted(part.cases, key=lambda case: case.importance):
            if clock() >= until:
                waiting.append(case)
                continue
            _finish(run_case(case, clock), report, clock() - began, write, tell)
    for case in sorted(waiting, key=lambda case: case.importance):
        late = clock() - began >= report.budget
        result = Result(case.part, case.name, "left out") if late else run_case(case, clock)
        _finish(result, report, clock() - began, write, tell)


def _finish(
    result: Result, report: Report, spent: float, write: Callable[[], None], tell: Callable[[str], None]
) -> None:
    report.results.append(result)
    report.spent = spent
    write()
    if result.outcome != "left out":
        tell(f"{spent:6.0f} s  {result.part}: {result.name}: {result.outcome} {result.error}".rstrip())


def run_case(case: Case, clock: Callable[[], float] = time.monotonic) -> Result:
    """Run one case; whatever goes wrong is its result."""
    began = clock()
    try:
        values = case.run()
    except Exception as error:  # the next case may work
        text = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        return Result(case.part, case.name, "error", clock() - began, error=text)
    verdict = values.get("passed")
    outcome: Outcome = "measured" if verdict is None else "passed" if verdict else "failed"
    return Result(case.part, case.name, outcome, clock() - began, values)
