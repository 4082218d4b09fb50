"""Arguments, parts, files."""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import torch

from paragon_arch.files.atomic import atomic_path, make_folder
from paragon_engine.devices import resolve_device

from . import correctness, facts, memory, page, real_use, speed, suite
from .schedule import Part, Report, run_parts

DATA, DOCUMENT, PLOT = "gpu.json", "gpu.md", "gpu.svg"
MANUAL = """\
Find out whether everything is right and fast on a GPU, in whatever time there is: facts, correctness of every kind
of network in every precision on every path, memory predicted against measured, speed of every form, real use, tests
of models and training on the device.

Results are in FOLDER/gpu.json after every case, and in the end as a page (gpu.md, gpu.svg). A budget that does not
hold all leaves out the least important cases. Needs torch, numpy, safetensors, Pillow, spandrel; pytest for the tests.
--page makes the page of results that are there, in a folder of documents: gpu.md and images/gpu.svg."""


def main(argv: list[str] | None = None) -> int:
    """Run; 1 if something failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=MANUAL, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=Path("out/gpu"), help="default: %(default)s")
    parser.add_argument("--budget", metavar="SECONDS", type=float, default=480.0, help="default: %(default)s")
    parser.add_argument("--device", metavar="D", default="auto", help="auto (default), cuda:1, cpu, ...")
    parser.add_argument("--tiny", action="store_true", help="a few small cases of each part, to see that it works")
    parser.add_argument("--page", metavar="DOCS", type=Path, help="only make the page of FOLDER/gpu.json in DOCS")
    args = parser.parse_args(argv)
    if args.page is not None:
        report = Report.read((args.out / DATA).read_text(encoding="utf-8"))
        make_folder(args.page / "images")
        _write_page(report, args.page / DOCUMENT, args.page / "images" / PLOT)
        return 0
    return measure(args.out, args.budget, resolve_device(args.device), tiny=args.tiny)


def measure(out: Path, budget: float, device: torch.device, *, tiny: bool) -> int:
    """Measure within a budget of seconds and write everything."""
    make_folder(out)
    warnings.simplefilter("ignore")
    began = time.monotonic()
    report = Report(str(device), budget, facts.facts(device))

    def write() -> None:
        report.write(out / DATA)

    write()
    run_parts(parts(device, tiny=tiny, until=began + budget), report, write=write)
    _write_page(report, out / DOCUMENT, out / PLOT)
    return int(any(result.outcome in ("failed", "error") for result in report.results))


def parts(device: torch.device, *, tiny: bool, until: float) -> list[Part]:
    """All parts, with their shares of the budget."""

    def left() -> float:
        return max(5.0, until - time.monotonic())

    return [
        Part(correctness.PART, 90, list(correctness.cases(device, tiny=tiny))),
        Part(memory.PART, 60, list(memory.cases(device, tiny=tiny))),
        Part(speed.PART, 180, list(speed.cases(device, tiny=tiny))),
        Part(real_use.PART, 60, list(real_use.cases(device, tiny=tiny))),
        Part(suite.PART, 90, list(suite.cases(device, tiny=tiny, left=left))),
    ]


def _write_page(report: Report, document: Path, plot: Path) -> None:
    with atomic_path(plot, overwrite=True) as temp:
        temp.write_text(page.svg(report), encoding="utf-8")
    with atomic_path(document, overwrite=True) as temp:
        temp.write_text(page.document(report, plot.relative_to(document.parent).as_posix()), encoding="utf-8")
