"""``verify``: whether an artefact does what its checkpoint does."""

from __future__ import annotations

import argparse
from pathlib import Path

from paragon_arch.errors import InvalidOptionError
from paragon_engine.progress import log

from .. import console
from ..command import Command, add_overrides, model_file, overrides, positive_float, positive_int
from ..exit_codes import ExitCode
from ..reports import add_json, add_pictures, say_json, verification_lines


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("artefacts", metavar="FILE", nargs="+", type=Path, help="ONNX file or checkpoint to verify")
    parser.add_argument("--against", metavar="MODEL", type=Path, help="what it was made from; required, unless:")
    parser.add_argument(
        "--signature",
        metavar="KEY",
        type=Path,
        help="FILE is a release: check model.sig in it with the signer's public key (elliptic curve, PEM)",
    )
    add_pictures(parser)
    parser.add_argument("--limit", type=positive_int, default=8, metavar="N", help="photographs to use (default: 8)")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu (default), cuda, ...")
    parser.add_argument("--details", action="store_true", help="a line for every input")
    limits = parser.add_argument_group("limits")
    limits.description = (
        "Defaults: FP32 a largest difference of 1e-4; FP16 a PSNR of 60 dB between the outputs\n"
        "and a loss of 0.01 dB; INT8 and FP8 a loss of 0.25 dB. The largest difference is relative\n"
        "to the larger of 1 and the checkpoint's largest value; the loss is a mean over photographs."
    )
    limits.add_argument("--max-abs", type=positive_float, metavar="X", help="largest difference of the outputs")
    limits.add_argument("--psnr", type=positive_float, metavar="DB", help="smallest PSNR between the outputs")
    limits.add_argument("--loss-db", type=positive_float, metavar="DB", help="largest loss of PSNR against the truth")
    add_json(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Verify each file; the exit code is that of the worst."""
    if args.signature is not None:
        return _signatures(args)
    if args.against is None:
        raise InvalidOptionError("verify needs --against CHECKPOINT, or --signature KEY")
    from paragon_engine.release.artefacts import open_artefact
    from paragon_engine.release.pictures import photographs
    from paragon_engine.release.verify import limits_for, verify

    pictures = photographs(args.pictures, limit=args.limit)
    reference = open_artefact(model_file(args.against), device=args.device, **overrides(args))
    progress = console.progress(quiet=args.quiet)
    reports = list[dict[str, object]]()
    try:
        for path in args.artefacts:
            candidate = open_artefact(model_file(path), device=args.device, **overrides(args))
            limits = limits_for(candidate.precision, max_abs=args.max_abs, psnr=args.psnr, loss_db=args.loss_db)
            report = verify(candidate, reference, pictures, limits=limits, progress=progress)
            progress.finish()
            reports.append(report.to_dict())
            for line in () if args.json else verification_lines(report, details=args.details):
                console.say(line)
    finally:
        progress.finish()
    if args.json:
        say_json(reports)
    return ExitCode.OK if all(report["passed"] for report in reports) else ExitCode.VERIFICATION


def _signatures(args: argparse.Namespace) -> int:
    from paragon_engine.release.signing import check_signature

    for folder in args.artefacts:
        check_signature(folder, args.signature)
        log.info("%s: as it was signed", folder)
    if args.json:
        say_json([{"folder": str(folder), "signed": True} for folder in args.artefacts])
    return ExitCode.OK


COMMAND = Command(
    name="verify",
    summary="whether an exported file does what its checkpoint does",
    manual="""\
Compare ONNX files, or other checkpoints, with the checkpoint they were made from: on photographs, which are reduced by
the model's scale so that they are their own ground truth, and at odd sizes (17x23, 8x513, 61x5, ...). Reports the
largest difference, the PSNR between the outputs, and the loss in PSNR and SSIM (luma, 8 bits) against the photograph.
A file over its limits gives exit code 10.""",
    examples="""\
  %(prog)s 2x_model_op18_fp16.onnx --against 2x_model.safetensors --pictures photos/
  %(prog)s *.onnx --against 2x_model.safetensors --json
  %(prog)s release/ --signature author.pub
  %(prog)s 2x_model_int8.onnx --against 2x_model.safetensors --loss-db 0.1 --details""",
    configure=configure,
    run=run,
)
