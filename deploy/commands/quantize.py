"""``quantize``: an INT8 or FP8 graph of a checkpoint, with its loss and its speed measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import paragon_arch
from paragon_arch.errors import OutputError
from paragon_arch.files.atomic import atomic_path
from paragon_engine.catalog import find_model
from paragon_engine.progress import log

from .. import console
from ..command import Command, add_overrides, overrides, positive_float, positive_int
from ..exit_codes import ExitCode
from ..reports import add_json, say_json

if TYPE_CHECKING:
    from paragon_arch.networks.base import SRNetwork
    from paragon_engine.quantize import QuantizationOptions, QuantizationReport


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("input", metavar="IN", help="checkpoint or shipped model")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="file to write (.onnx)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    _add_pictures(parser)
    _add_quantization(parser)
    _add_training(parser)
    speed = parser.add_argument_group("speed")
    speed.add_argument("--no-benchmark", action="store_true", help="do not measure the speed")
    speed.add_argument("--size", metavar="N", type=positive_int, default=256, help="side of the input (default: 256)")
    speed.add_argument("--runs", metavar="N", type=positive_int, default=9, help="runs of each graph (default: 9)")
    speed.add_argument("--threads", metavar="N", type=positive_int, help="CPU threads (default: PyTorch's choice)")
    files = parser.add_argument_group("report")
    add_json(parser)
    files.add_argument("--markdown", metavar="FILE", type=Path, help="write the report as a document")
    files.add_argument("--plot", metavar="FILE", type=Path, help="write a plot of the loss by layer, *.svg")
    add_overrides(parser)


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--calibration", metavar="FOLDER", type=Path, required=True, help="pictures of any size to observe ranges on"
    )
    group.add_argument(
        "--holdout", metavar="FOLDER", type=Path, help="pictures to measure on (default: every fourth of the others)"
    )
    group.add_argument("--samples", metavar="N", type=positive_int, default=32, help="crops observed (default: 32)")
    group.add_argument("--crop", metavar="N", type=positive_int, default=96, help="their side (default: 96)")
    group.add_argument("--cache", metavar="FOLDER", type=Path, help="where calibrations are remembered")


def _add_quantization(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("quantisation")
    group.add_argument("--kind", choices=("int8", "fp8"), default="int8", help="default: int8")
    group.add_argument(
        "--method",
        choices=("minmax", "entropy", "percentile"),
        default="minmax",
        help="of INT8 ranges (default: minmax)",
    )
    group.add_argument("--percentile", metavar="P", type=positive_float, default=99.99, help="default: 99.99")
    group.add_argument(
        "--max-loss", metavar="DB", type=positive_float, default=0.25, help="largest loss of PSNR (default: 0.25)"
    )
    group.add_argument(
        "--fallback",
        choices=("fp32", "int16"),
        default="fp32",
        help="what layers get that lose too much; int16 is 16-bit activations, for NPUs (default: fp32)",
    )
    group.add_argument(
        "--keep", metavar="PART", action="append", default=[], help="never quantise layers whose name has this part"
    )
    group.add_argument(
        "--quantize-outputs", action="store_true", help="for runtimes that compute in integers throughout"
    )
    group.add_argument(
        "--full-range", action="store_true", help="8-bit weights, not 7: only for CPUs with VNNI, GPUs and NPUs"
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("quantisation-aware training")
    group.add_argument(
        "--train",
        metavar="STEPS",
        type=positive_int,
        help="first train on the calibration's pictures for so many steps",
    )
    group.add_argument("--trained", metavar="FILE", type=Path, help="also keep the trained checkpoint, *.safetensors")


def run(args: argparse.Namespace) -> int:
    """Quantise, report, and fail where the target was missed."""
    from paragon_engine.quantize import quantize

    for path in (args.markdown, args.plot, args.trained):
        if path is not None and path.exists() and not args.overwrite:
            raise OutputError(f"{path}: exists already; give another name or allow --overwrite")
    _set_threads(args.threads)
    progress = console.progress(quiet=args.quiet)
    try:
        report = quantize(_model(args), args.calibration, args.output, options=_options(args), progress=progress)
    finally:
        progress.finish()
    _show(report, as_json=args.json)
    _write(report, args)
    report.raise_if_failed()
    log.info("%s: written", args.output)
    return ExitCode.OK


def _options(args: argparse.Namespace) -> QuantizationOptions:
    from paragon_engine.quantize import QuantizationOptions

    return QuantizationOptions(
        kind=args.kind,
        method=args.method,
        percentile=args.percentile,
        samples=args.samples,
        crop=args.crop,
        holdout=args.holdout,
        target_db=args.max_loss,
        fallback=args.fallback,
        keep=tuple(args.keep),
        outputs=args.quantize_outputs,
        reduce_range=not args.full_range,
        benchmark=not args.no_benchmark,
        size=args.size,
        runs=args.runs,
        cache=args.cache,
        overwrite=args.overwrite,
    )


def _model(args: argparse.Namespace) -> Path | SRNetwork:
    """What to quantise: the file itself, or what training or the options for missing values make of it."""
    from paragon_engine.quantize import prepare_qat, stored_ranges

    source = find_model(args.input)
    if args.train:
        return _trained(args, source)
    if all(value is None for value in overrides(args).values()):
        return source
    network, ranges = paragon_arch.open_model(source, **overrides(args)).model, stored_ranges(source)
    if ranges:
        prepare_qat(network, ranges=ranges)
    return network


def _trained(args: argparse.Namespace, source: Path) -> SRNetwork:
    from paragon_engine.quantize import FineTuning, fine_tune, save_qat
    from paragon_engine.quantize.pictures import list_pictures, split

    seen, _ = split(list_pictures(args.calibration), args.holdout)
    progress = console.progress(quiet=args.quiet)
    try:
        model = paragon_arch.open_model(source, **overrides(args))
        network = fine_tune(model.model, seen, FineTuning(steps=args.train), progress=progress)
    finally:
        progress.finish()
    if args.trained is not None:
        save_qat(network, args.trained, overwrite=args.overwrite)
    return network


def _set_threads(count: int | None) -> None:
    if count is not None:
        import torch

        torch.set_num_threads(count)


def _show(report: QuantizationReport, *, as_json: bool) -> None:
    from paragon_engine.quantize import text

    if as_json:
        say_json(report.to_dict())
        return
    for rows in (text.layer_rows(report), text.picture_rows(report), text.speed_rows(report)):
        if len(rows) > 1:
            for line in console.columns(rows):
                console.say(line)
            console.say("")
    if report.speeds:
        console.say(f"speed on {text.conditions(report)}")
    for line in text.summary(report):
        console.say(line)


def _write(report: QuantizationReport, args: argparse.Namespace) -> None:
    from paragon_engine.quantize import markdown, svg

    plot = args.plot.name if args.plot else None
    for path, content in ((args.markdown, markdown(report, plot=plot)), (args.plot, svg(report))):
        if path is not None:
            with atomic_path(path, overwrite=args.overwrite) as temp:
                temp.write_text(content, encoding="utf-8", errors="backslashreplace")


COMMAND = Command(
    name="quantize",
    summary="write an INT8 or FP8 graph of a checkpoint, if it is good enough",
    manual="""\
Quantise a model to ONNX with Q/DQ pairs: observe ranges on your pictures, measure what each layer loses, keep in FP32
what must be, and measure the loss (against the ground truth) on pictures that were not observed, and the speed against
FP32 on every runtime here. A graph that loses more than allowed is not written, and the exit code says so.""",
    examples="""\
  %(prog)s 2x_model.safetensors --calibration photos/ -o 2x_model_int8.onnx
  %(prog)s 2x_model.safetensors --calibration photos/ --train 400 --trained 2x_qat.safetensors -o 2x_int8.onnx
  %(prog)s 2x_qat.safetensors --calibration photos/ -o 2x_int8.onnx --markdown report.md --plot layers.svg""",
    configure=configure,
    run=run,
)
