"""``blend``: write the weights between those of two checkpoints of one network."""

from __future__ import annotations

import argparse
from pathlib import Path

import paragon_arch
from paragon_engine.catalog import find_model
from paragon_engine.progress import log

from .. import console
from ..command import Command, add_overrides, overrides, refuse_checkpoint_output, share
from ..exit_codes import ExitCode
from ..reports import add_json, say_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("first", metavar="A", help="checkpoint, or name of a shipped model")
    parser.add_argument(
        "second", metavar="B", help="another checkpoint of the same network, or name of a shipped model"
    )
    parser.add_argument("--weight", metavar="W", type=share, required=True, help="of B, 0 (A alone) to 1 (B alone)")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="file to write (.safetensors)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists (A and B never are)")
    parser.add_argument(
        "--no-hint-tensors",
        action="store_true",
        help="do not add the small tensors that tell other programs scale and alpha (metadata is written anyway)",
    )
    add_json(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Load both, blend, write."""
    paths = [find_model(name) for name in (args.first, args.second)]
    for args.input in paths:
        refuse_checkpoint_output(args)
    first, second = (paragon_arch.open_model(path, **overrides(args)) for path in paths)
    blended = paragon_arch.blend(first, second, args.weight)
    paragon_arch.save(blended, args.output, overwrite=args.overwrite, hint_tensors=not args.no_hint_tensors)
    log.info("%s: written", args.output)
    if args.json:
        say_json({"file": str(args.output), "first": str(paths[0]), "second": str(paths[1]), "weight": args.weight})
    else:
        console.say(f"{args.output}: {1 - args.weight:.4g} of {paths[0].stem}, {args.weight:.4g} of {paths[1].stem}")
    return ExitCode.OK


COMMAND = Command(
    name="blend",
    summary="interpolate two checkpoints of one network",
    manual="""\
Write the weights between those of two checkpoints: of a clean and a restoring model, for instance, a model that
restores by half. Layout, sizes, scale, alpha and fused state must be the same, and one of the two should have been
trained on from the other, else what lies between them is no good model. The result says what it was made of.""",
    examples="""\
  %(prog)s 2x-ParagonSR2-Realtime-v1 2x-ParagonSR2-Realtime-Restore-v1 --weight 0.5 -o half.safetensors
  %(prog)s clean.safetensors restore.pth --weight 0.25 -o quarter.safetensors""",
    configure=configure,
    run=run,
)
