"""The long form of the suites of hostile files and faults, and its figures in docs/reliability.md.

    python -m tests.reliability            run everything, then write the table
    python -m tests.reliability FILE       write the table of figures that were kept in FILE (PARAGONSR_FIGURES)

With COMFYUI_PATH (and COMFYUI_PYTHON) in the environment, the soak of a ComfyUI server is part of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.measuring import FIGURES, ROOT

PAGE = ROOT / "docs/reliability.md"
SUITES = ("tests/hostile", "tests/faults", "tests/comfyui/test_soak.py")
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def run(figures: Path) -> int:
    """All tests of the suites, the exhaustive ones included; pytest's exit code."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "exhaustive or not exhaustive"]
    environment = {**os.environ, FIGURES: str(figures), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "pytest", *options, *SUITES], cwd=ROOT, env=environment).returncode


def table(figures: Path) -> str:
    """The figures as Markdown; of a suite that ran several times, the run with most cases."""
    largest: dict[str, dict[str, Any]] = {}
    for text in figures.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["cases"] >= largest.get(line["suite"], {"cases": 0})["cases"]:
            largest[line["suite"]] = line
    rows = ["| what | cases | outcome | worst time | worst memory |", "|---|---|---|---|---|"]
    return "\n".join([*rows, *(_row(line) for _, line in sorted(largest.items()))]) + "\n"


def _row(line: dict[str, Any]) -> str:
    seconds = "" if line["seconds"] is None else f"{line['seconds']:.2f} s"
    peak = "" if line["peak"] is None else f"{line['peak'] / 2**20:.0f} MiB"
    return f"| {line['suite']} | {line['cases']:,} | {line['outcome']} | {seconds} | {peak} |"


def write(figures: Path) -> None:
    """Put the table into the page."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(head + BEGIN + table(figures) + END + rest.partition(END)[2], encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run, unless figures are given, and write."""
    if arguments:
        write(Path(arguments[0]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures"
        code = run(figures)
        if code == 0:
            write(figures)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
