"""``compare``: two models on the same pictures, as figures and as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from paragon_arch.files.atomic import atomic_path
from paragon_engine.progress import log

from .. import console
from ..command import Command, add_overrides, model_file, overrides, positive_int
from ..exit_codes import ExitCode
from ..reports import add_json, add_pictures, say_json

if TYPE_CHECKING:
    from paragon_engine.release.comparison import Comparison


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("first", metavar="A", type=Path, help="checkpoint, shipped model or ONNX file")
    parser.add_argument("second", metavar="B", type=Path, help="another one of the same scale")
    parser.add_argument("-o", "--output", metavar="PAGE", type=Path, help="write a page with the pictures (.html)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing page")
    parser.add_argument("--limit", type=positive_int, default=8, metavar="N", help="photographs to use (default: 8)")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu (default), cuda, ...")
    add_pictures(parser)
    add_json(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Compare, show the figures, write the page."""
    from paragon_engine.release.artefacts import open_artefact
    from paragon_engine.release.comparison import compare, html
    from paragon_engine.release.pictures import photographs
    from paragon_engine.upscale import refuse_existing

    paths = [model_file(args.first), model_file(args.second)]
    if args.output is not None:
        refuse_existing(paths[0], args.output, overwrite=args.overwrite)
    pictures = photographs(args.pictures, limit=args.limit)
    models = [open_artefact(path, device=args.device, **overrides(args)) for path in paths]
    progress = console.progress(quiet=args.quiet)
    try:
        result = compare(models[0], models[1], pictures, progress=progress)
    finally:
        progress.finish()
    if args.output is not None:
        with atomic_path(args.output, overwrite=args.overwrite) as temp:
            temp.write_text(html(result), encoding="utf-8", errors="backslashreplace")
        log.info("%s: written", args.output)
    _show(result, json=args.json)
    return ExitCode.OK


def _show(result: Comparison, *, json: bool) -> None:
    from paragon_engine.release.comparison import COLUMNS

    if json:
        say_json(result.to_dict())
        return
    rows = [("picture", *COLUMNS.values())]
    rows += [(row.name, *(_cell(getattr(row, name)) for name in COLUMNS)) for row in result.rows]
    rows.append(("mean", *(_cell(result.mean(name)) for name in COLUMNS)))
    console.say(f"A: {result.first}   B: {result.second}")
    for line in console.columns(rows):
        console.say(line)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


COMMAND = Command(
    name="compare",
    summary="two models on the same pictures: figures, and a page to look at",
    manual="""\
Run two models of the same scale, checkpoints or ONNX files, on pictures that are reduced by the scale so that they are
their own ground truth. Prints PSNR and SSIM of each against the original and of one against the other. -o writes one
HTML page that needs nothing else: the table, and for each picture bicubic, A, B, their difference and the original.""",
    examples="""\
  %(prog)s old.safetensors new.safetensors --pictures photos/ -o compare.html
  %(prog)s 2x_model.safetensors 2x_model_op18_fp16.onnx --json""",
    configure=configure,
    run=run,
)
