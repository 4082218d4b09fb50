"""Fuzz a parser with atheris, guided by what of our code an input reaches.

    python -m tests.fuzz TARGET [--seconds 600] [--corpus FOLDER]

Needs `pip install atheris`, which exists for Linux. A finding is any exception that is not a `ParagonError`, more than
ten seconds, or more than 2 GiB of memory; its input is written to the working directory, and the command fails. The
corpus starts with the files of the hostile suites and grows in its folder.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
import tempfile
import warnings
from pathlib import Path

import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource, reportMissingTypeStubs]

import torch  # isort: skip  # noqa: F401  # pyright: ignore[reportUnusedImport]  (not to be instrumented)
import onnx  # isort: skip  # noqa: F401  # pyright: ignore[reportUnusedImport]
import spandrel  # isort: skip  # noqa: F401  # pyright: ignore[reportUnusedImport]

with atheris.instrument_imports(include=["paragon_arch", "paragon_engine"]):  # pyright: ignore
    from paragon_arch.errors import ParagonError
    from tests.fuzz.targets import TARGETS

SLOW = 10
"""Wall-clock seconds of one input that end the run; machines that run tests are busy."""
MEMORY = 2048
"""MiB of the whole process."""


def main() -> None:
    """Run one target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, help="kept from run to run (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        corpus: Path = arguments.corpus or Path(scratch) / "corpus"
        target = TARGETS[arguments.target]
        corpus.mkdir(parents=True, exist_ok=True)
        for seed in target.seeds(Path(scratch)):
            (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)

        def one(data: bytes) -> None:
            with contextlib.suppress(ParagonError):
                target.parse(data)

        limits = [f"-timeout={SLOW}", f"-rss_limit_mb={MEMORY}", f"-max_total_time={arguments.seconds}"]
        warnings.simplefilter("ignore")
        atheris.Setup([sys.argv[0], *limits, "-max_len=65536", "-print_final_stats=1", str(corpus)], one)  # pyright: ignore
        atheris.Fuzz()  # pyright: ignore


if __name__ == "__main__":
    main()
