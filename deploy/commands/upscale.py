"""``upscale``: enlarge one picture or a folder of pictures."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import paragon_arch
from paragon_arch.errors import ImageError
from paragon_engine.catalog import find_model
from paragon_engine.progress import Progress, duration, log

from .. import console
from ..command import Command, add_overrides, overrides, positive_float, positive_int
from ..exit_codes import ExitCode

if TYPE_CHECKING:
    from paragon_engine.upscale import UpscaleSettings

FORMAT_CHOICES = ("png", "jpg", "webp", "tif", "bmp", "same")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("input", metavar="INPUT", type=Path, help="picture, or folder of pictures")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        type=Path,
        required=True,
        help="file to write, its extension decides the format; or a folder, which a folder as INPUT requires",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs (inputs never are)")
    parser.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda, cuda:1, mps, ...")
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="M", help="checkpoint, or name of a shipped model (default: the shipped one)")
    model.add_argument(
        "--outscale",
        type=positive_float,
        metavar="F",
        help="size of the output relative to the input, e.g. 1.5 (default: the model's scale); "
        "the model's result is resized by an antialiased Lanczos filter",
    )
    model.add_argument(
        "--backend",
        default="torch",
        metavar="B",
        help="what computes: torch (default), onnxruntime, openvino, ... (benchmark --list shows all), or auto: "
        "the fastest here, measured for some seconds the first time and remembered",
    )
    model.add_argument(
        "--precision",
        choices=("auto", "fp32", "fp16", "bf16"),
        default="auto",
        help="auto (default): half precision on CUDA where the layout holds it, else fp32; "
        "a tile that overflows is redone more precisely",
    )
    add_overrides(parser)
    tiles = parser.add_argument_group("tiles", "for pictures that do not fit into memory at once")
    tiles.add_argument(
        "--tile",
        type=_tile,
        default="auto",
        metavar="auto|N|0",
        help="side of a tile in input pixels; 0 is untiled; auto (default) is untiled where that fits",
    )
    tiles.add_argument(
        "--tiling",
        choices=("exact", "overlap"),
        default="exact",
        help="exact (default): the result of the whole image, for any tile; overlap: approximate, with feathered seams",
    )
    tiles.add_argument(
        "--overlap",
        type=_overlap,
        metavar="N",
        help="with --tiling overlap: input pixels that tiles share (default: what the model needs, 128 at most)",
    )
    folder = parser.add_argument_group("folders")
    folder.add_argument("--recursive", action="store_true", help="sub-folders too; the output mirrors them")
    folder.add_argument(
        "--format", choices=FORMAT_CHOICES, default="png", help="format of the outputs (default: png); same keeps it"
    )


def run(args: argparse.Namespace) -> int:
    """Check what can be checked before loading a model, then load and upscale."""
    from paragon_engine.upscale import UpscaleSettings

    settings = UpscaleSettings(tile=args.tile, tiling=args.tiling, overlap=args.overlap, outscale=args.outscale)
    progress = console.progress(quiet=args.quiet)
    try:
        return _folder(args, settings, progress) if args.input.is_dir() else _file(args, settings, progress)
    finally:
        progress.finish()


def _file(args: argparse.Namespace, settings: UpscaleSettings, progress: Progress) -> int:
    from paragon_engine.pictures import output_format
    from paragon_engine.upscale import refuse_existing, upscale_file

    target: Path = args.output / f"{args.input.stem}.png" if args.output.is_dir() else args.output
    if not args.input.exists():
        raise ImageError(f"{args.input}: no such file")
    output_format(target)
    refuse_existing(args.input, target, overwrite=args.overwrite)
    model, began = _load(args), time.monotonic()
    upscale_file(model, args.input, target, settings, overwrite=args.overwrite, progress=progress)
    progress.finish()
    log.info("%s: written in %s", target, duration(time.monotonic() - began))
    return ExitCode.OK


def _folder(args: argparse.Namespace, settings: UpscaleSettings, progress: Progress) -> int:
    from paragon_engine.folders import upscale_folder
    from paragon_engine.pictures import extension_of

    model, began = _load(args), time.monotonic()
    summary = upscale_folder(
        model,
        args.input,
        args.output,
        settings,
        recursive=args.recursive,
        extension=extension_of(args.format),
        overwrite=args.overwrite,
        progress=progress,
    )
    progress.finish()
    log.info("%s: %s, in %s", args.output, summary, duration(time.monotonic() - began))
    return ExitCode.PARTIAL if summary.failed else ExitCode.OK


def _load(args: argparse.Namespace) -> paragon_arch.ParagonModelDescriptor:
    """The model, on the device that was asked for."""
    from paragon_engine.backends.model import with_backend
    from paragon_engine.devices import resolve_device

    device = resolve_device(args.device)
    path = find_model(args.model)
    model = paragon_arch.load(path, **overrides(args)).to(device)
    report = model.report
    log.info("%s: %s %s, scale %d, on %s", path.name, report.layout, report.variant or "custom", model.scale, device)
    return with_backend(model, args.backend, precision=args.precision)


def _tile(text: str) -> int | str:
    if text == "auto" or text == "0":
        return 0 if text == "0" else text
    return positive_int(text)


def _overlap(text: str) -> int:
    return 0 if text == "0" else positive_int(text)


COMMAND = Command(
    name="upscale",
    summary="enlarge a picture or a folder of pictures",
    manual="""\
Enlarge PNG, JPEG, WebP, TIFF and BMP pictures. Transparency, ICC profile and EXIF data are kept, the EXIF orientation
is applied, grayscale stays grayscale. Outputs appear complete or not at all.

In a folder, outputs that exist are skipped and a picture that fails does not stop the others (exit code 9).
--scale tells the scale of a checkpoint that does not say it; --outscale asks for another size of the output.""",
    examples="""\
  %(prog)s photo.jpg -o photo_2x.png
  %(prog)s photo.jpg -o photo_3x.webp --outscale 3
  %(prog)s --model 4x_stream.safetensors --tile 256 scan.tif -o scan_4x.tif
  %(prog)s --recursive holiday/ -o holiday_2x/ --format same""",
    configure=configure,
    run=run,
)
