"""``export``: ONNX files of a checkpoint, verified before they are written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from paragon_engine.progress import log

from .. import console
from ..command import Command, add_overrides, model_file, overrides, positive_int
from ..exit_codes import ExitCode
from ..reports import add_json, add_pictures, say_json, verification_lines

if TYPE_CHECKING:
    from paragon_engine.release.export import Export, ExportOptions


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("input", metavar="IN", type=Path, help="checkpoint, fused or not, or shipped model")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, default=Path(), help="where to (default: here)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_graph_options(parser)
    parser.add_argument("--video", action="store_true", help="the video graph, with features of the previous frame")
    parser.add_argument(
        "--accept-identity-kernel", action="store_true", help="export a dynamic layout whose kernels were never tracked"
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="where PyTorch computes the reference: cpu, cuda")
    add_pictures(parser)
    add_json(parser)
    add_overrides(parser)


def add_graph_options(parser: argparse.ArgumentParser) -> None:
    """Options on the graphs themselves, which `release` has too."""
    group = parser.add_argument_group("graphs")
    group.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        action="append",
        help="may be repeated (default: both); fp16 has half-precision weights and arithmetic",
    )
    group.add_argument("--opset", type=positive_int, default=18, metavar="N", help="17 to 20 (default: 18)")
    group.add_argument(
        "--size", type=size, metavar="HxW", help="height and width of a graph of one size (default: any size)"
    )
    group.add_argument(
        "--io",
        choices=("fp32", "fp16"),
        default="fp32",
        help="type of the FP16 graph's input and output; fp32 (default) can be fed by any program",
    )
    group.add_argument("--no-slim", action="store_true", help="do not shorten the graphs with onnxslim")
    group.add_argument("--author", default="", metavar="A", help="stored in the files")
    group.add_argument(
        "--license", default="", metavar="L", help="SPDX name of the weights' licence, stored in the files"
    )


def graph_options(args: argparse.Namespace, *, video: bool = False) -> ExportOptions:
    """What `add_graph_options` asks for."""
    from paragon_engine.onnx_export import Precision
    from paragon_engine.release.export import PRECISIONS, ExportOptions
    from paragon_engine.release.facts import Credits

    wanted: list[Precision] = args.precision or list(PRECISIONS)
    return ExportOptions(
        precisions=tuple(p for p in PRECISIONS if p in wanted),
        opset=args.opset,
        size=args.size,
        io=args.io,
        slim=not args.no_slim,
        video=video,
        credits=Credits(args.author, args.license),
    )


def size(text: str) -> tuple[int, int]:
    """``HEIGHTxWIDTH``, for argparse."""
    height, cross, width = text.lower().partition("x")
    if not cross:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, e.g. 720x1280")
    return positive_int(height), positive_int(width)


def run(args: argparse.Namespace) -> int:
    """Export, verify, write what passed."""
    from paragon_engine.release.export import export_checkpoint
    from paragon_engine.release.pictures import photographs

    progress = console.progress(quiet=args.quiet)
    try:
        exports = export_checkpoint(
            model_file(args.input),
            args.output,
            graph_options(args, video=args.video),
            pictures=photographs(args.pictures),
            accept_identity=args.accept_identity_kernel,
            overwrite=args.overwrite,
            device=args.device,
            progress=progress,
            **overrides(args),
        )
    finally:
        progress.finish()
    _show(exports, args)
    return ExitCode.OK if all(item.verification.passed for item in exports) else ExitCode.VERIFICATION


def _show(exports: list[Export], args: argparse.Namespace) -> None:
    if args.json:
        say_json([item.to_dict() | {"written": item.verification.passed} for item in exports])
    for item in exports:
        for line in () if args.json else [*verification_lines(item.verification), f"  {'; '.join(item.notes)}"]:
            console.say(line)
        log.info("%s: %s", args.output / item.name, "written" if item.verification.passed else "NOT written")


COMMAND = Command(
    name="export",
    summary="ONNX files of a checkpoint, verified before they are written",
    manual="""\
Fuse a checkpoint and export it to ONNX, in FP32 and in FP16. The files are named <stem>_op<N>_<precision>.onnx. Each
is compared with the checkpoint on photographs and at odd sizes; one that differs by more than is allowed is not
written, and the exit code is 10 (the others are written).

The input is named "input", the output "output": (N, 3, H, W), RGB in 0..1, the output not clamped. Height, width and
batch are open unless --size is given. FP16 graphs are strongly typed: weights and arithmetic are FP16, sums over the
image are FP32, and so is what a measurement shows to need it; Casts in the graph say where.

--video exports <stem>_video_op<N>_... with a second input "prev_feat", the features of the previous frame (zeros for
the first), and a second output "feature_map", those of this frame. Only layouts v2-v10 and v2-release have it.""",
    examples="""\
  %(prog)s 2x_model.safetensors -o exported/
  %(prog)s 2x_model.pth --precision fp16 --pictures photos/
  %(prog)s 2x_model.safetensors --size 720x1280 --opset 17""",
    configure=configure,
    run=run,
)
