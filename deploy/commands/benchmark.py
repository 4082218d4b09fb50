"""``benchmark``: forms and backends of a model side by side."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paragon_arch
from paragon_arch.errors import OutputError
from paragon_arch.files.atomic import atomic_path, make_folder
from paragon_engine.catalog import find_model
from paragon_engine.progress import log

from .. import console
from ..command import Command, add_overrides, overrides, positive_int
from ..exit_codes import ExitCode

if TYPE_CHECKING:
    from paragon_engine.benchmark import Report

WRITERS = {"json": "benchmark.json", "markdown": "benchmark.md", "plot": "benchmark.svg"}
"""Options that write a file, and the names of those files in the folder of ``-o``."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="checkpoint or shipped model (default: the latter)")
    parser.add_argument("--list", action="store_true", help="only list the backends and what is missing for each")
    parser.add_argument(
        "--size", metavar="N", type=positive_int, action="append", help="side of the input; may be repeated"
    )
    parser.add_argument("--backends", metavar="A,B", help="names, separated by commas (default: all quick ones here)")
    parser.add_argument("--passes", action="store_true", help="also measure each rewrite of the inference form")
    parser.add_argument("--runs", metavar="N", type=positive_int, default=9, help="runs of each line (default: 9)")
    parser.add_argument("--threads", metavar="N", type=positive_int, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu (default), cuda, ...")
    files = parser.add_argument_group("files")
    files.add_argument("--json", metavar="FILE", type=Path, help="write everything that was measured")
    files.add_argument("--markdown", metavar="FILE", type=Path, help="write tables as a document")
    files.add_argument("--plot", metavar="FILE", type=Path, help="write the plot, *.svg")
    files.add_argument("-o", "--output", metavar="FOLDER", type=Path, help="write all three into this folder")
    files.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Measure one model and show it."""
    if args.list:
        return _list()
    targets = _targets(args)
    from paragon_engine.benchmark import Options, benchmark
    from paragon_engine.devices import resolve_device

    _set_threads(args.threads)
    device, path = resolve_device(args.device), find_model(args.model)
    model = paragon_arch.open_model(path, **overrides(args)).to(device)
    options = Options(
        sizes=tuple(args.size or (256, 512)),
        backends=tuple(args.backends.split(",")) if args.backends else None,
        runs=args.runs,
        passes=args.passes,
    )
    reference = reference_form()
    if reference is None:
        log.info("no benchmarks/ here, so there is no reference form: the fused network is the baseline")
    progress = console.progress(quiet=args.quiet)
    try:
        report = benchmark({path.stem: model.model}, options, reference=reference, device=device, progress=progress)
    finally:
        progress.finish()
    _show(report)
    _write(report, targets, overwrite=args.overwrite)
    return ExitCode.OK


def reference_form() -> Callable[..., Any] | None:
    """The published operations, for comparison; only a checkout has them, an installed copy does not."""
    if find_spec("benchmarks") is None or find_spec("benchmarks.reference") is None:
        return None
    return getattr(importlib.import_module("benchmarks.reference"), "reference_form", None)


def _set_threads(count: int | None) -> None:
    if count is not None:
        import torch

        torch.set_num_threads(count)


def _list() -> int:
    from paragon_engine.backends import listing

    rows = [(name, "yes" if state.usable else "no", state.detail) for name, state in listing()]
    for line in console.columns([("backend", "usable", ""), *rows]):
        console.say(line)
    return ExitCode.OK


def _targets(args: argparse.Namespace) -> dict[str, Path]:
    """The files to write, refused before the work where they exist."""
    given = {kind: getattr(args, kind) for kind in WRITERS}
    if args.output is not None:
        make_folder(args.output)
        given = {kind: path or args.output / WRITERS[kind] for kind, path in given.items()}
    targets: dict[str, Path] = {kind: path for kind, path in given.items() if path is not None}
    for path in targets.values():
        if path.exists() and not args.overwrite:
            raise OutputError(f"{path}: exists already; give another name or allow --overwrite")
    return targets


def _show(report: Report) -> None:
    from paragon_engine.benchmark import conditions, table

    console.say(conditions(report))
    for case in report.cases:
        console.say(f"\n{case.model}, {case.size} x {case.size}")
        for line in console.columns(table(case)):
            console.say(line)
        for name, reason in case.failed.items():
            console.say(f"not measured: {name}: {reason}")


def _write(report: Report, targets: dict[str, Path], *, overwrite: bool) -> None:
    from paragon_engine.benchmark import as_json, markdown, svg

    plot = targets.get("plot")
    document = markdown(report, plot=None if plot is None else plot.name)
    texts = {"json": as_json(report), "plot": svg(report), "markdown": document}
    for kind, path in targets.items():
        with atomic_path(path, overwrite=overwrite) as temp:
            temp.write_text(texts[kind], encoding="utf-8", errors="backslashreplace")
        log.info("%s: written", path)


COMMAND = Command(
    name="benchmark",
    summary="measure forms and backends of a model side by side",
    manual="""\
Run a model in every form on every backend that can be used here, in turns, and show medians, speed-ups, peak memory,
and shares of what the machine reaches in a matrix product and in a copy. The model's inference form is compared with
the fused network, and in a checkout also with the reference form: the published operations in their published order.
torch-compile takes minutes to prepare and is only measured if it is named.""",
    examples="""\
  %(prog)s
  %(prog)s --list
  %(prog)s 4x_stream.safetensors --size 256 --size 512 -o results/
  %(prog)s --backends torch,openvino --passes --threads 2 --runs 15""",
    configure=configure,
    run=run,
)
