"""``fuse``: write the inference form of a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

import paragon_arch
from paragon_engine.progress import log

from .. import console
from ..command import Command, add_overrides, overrides, refuse_checkpoint_output
from ..exit_codes import ExitCode
from ..reports import add_json, say_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("input", metavar="IN", type=Path, help="checkpoint or shipped model to fuse")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="file to write (.safetensors)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument(
        "--accept-identity-kernel",
        action="store_true",
        help="fuse a dynamic layout although its kernels were never tracked in training; they stay the identity",
    )
    parser.add_argument(
        "--no-hint-tensors",
        action="store_true",
        help="do not add the small tensors that tell other programs scale and alpha (metadata is written anyway)",
    )
    add_json(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Load, fuse, write."""
    from paragon_arch.api import fuse_verbosely
    from paragon_engine.release.validation import validate

    refuse_checkpoint_output(args)
    model = paragon_arch.open_model(args.input, **overrides(args))
    before = validate(model)
    fused, fusion = fuse_verbosely(model, accept_identity=args.accept_identity_kernel)
    paragon_arch.save(fused, args.output, overwrite=args.overwrite, hint_tensors=not args.no_hint_tensors)
    after = validate(paragon_arch.open_model(args.output))  # what was written, not what was meant
    log.info("%s: written", args.output)
    if args.json:
        report = {"changed": fusion.changed, "message": fusion.message, "max_difference": fusion.worst}
        say_json({**report, "file": str(args.output), "before": before.to_dict(), "after": after.to_dict()})
    else:
        console.say(f"{args.input}: {before.message}")
        console.say(f"{args.output}: {after.message}")
    return ExitCode.OK


COMMAND = Command(
    name="fuse",
    summary="write the fused (inference) form of a checkpoint",
    manual="""\
Fold the training-time branches of a checkpoint into single convolutions. The result is checked against the original
before it is written, keeps the family's own keys, and loads wherever fused checkpoints of the layout do. The input is
never changed.""",
    examples="""\
  %(prog)s 2xNano.safetensors -o 2xNano_fused.safetensors
  %(prog)s --scale 4 unnamed.pth -o 4x_fused.safetensors""",
    configure=configure,
    run=run,
)
