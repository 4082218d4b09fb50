"""``calibrate``: collect the tracked kernels of a dynamic model."""

from __future__ import annotations

import argparse
from pathlib import Path

from paragon_engine.progress import log

from .. import console
from ..command import Command, add_overrides, overrides, positive_int, refuse_checkpoint_output
from ..exit_codes import ExitCode
from ..reports import add_json, say_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("input", metavar="IN", type=Path, help="unfused model of a dynamic layout")
    parser.add_argument("pictures", metavar="P", type=Path, nargs="+", help="picture or folder of pictures")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="file to write (.safetensors)")
    parser.add_argument("--limit", metavar="N", type=positive_int, default=256, help="crops at most (default: 256)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    add_json(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrate and write."""
    from paragon_engine.release.calibrate import calibrate_checkpoint

    refuse_checkpoint_output(args)
    progress = console.progress(quiet=args.quiet)
    try:
        report = calibrate_checkpoint(
            args.input,
            args.pictures,
            args.output,
            limit=args.limit,
            overwrite=args.overwrite,
            progress=progress,
            **overrides(args),
        )
    finally:
        progress.finish()
    for doubt in report.doubts:
        log.warning("%s", doubt)
    if args.json:
        say_json(report.to_dict() | {"file": str(args.output)})
    else:
        console.say(
            f"{args.output}: {report.tracked} of {report.kernels} kernels ({report.coverage:.0%}) from {report.crops} "
            f"crops of {report.pictures} pictures; drift {report.drift:.1%}, change {report.change:.1%}"
        )
    return ExitCode.OK


COMMAND = Command(
    name="calibrate",
    summary="collect the tracked kernels of a dynamic model from pictures",
    manual="""\
Layouts with a dynamic transformer predict kernels from the picture while training, and need their mean afterwards. A
checkpoint whose kernels were never tracked runs with identity kernels, and cannot be fused. Run pictures through it
that are like its future inputs (low resolution): the result is a new, unfused checkpoint with the mean kernels.

Reported are coverage (kernels reached), drift (how far the means still moved in the second half of the crops) and
change (difference from the kernels that were there).""",
    examples="""\
  %(prog)s 2x_model.safetensors lowres/ -o 2x_model_calibrated.safetensors
  %(prog)s 2x_model.pth a.png b.png -o calibrated.safetensors --scale 2 --json""",
    configure=configure,
    run=run,
)
