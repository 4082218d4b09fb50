"""``upscale``: enlarge one picture or a folder of pictures."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from paragon_arch.errors import ImageError, InvalidOptionError
from paragon_engine.progress import Progress, duration, log

from .. import console
from ..command import Command, positive_int
from ..exit_codes import ExitCode
from ..model_options import add_model, add_size, model_source
from ..restore_options import add_restore, report_note, restoring

if TYPE_CHECKING:
    from paragon_engine.jobs import FolderOptions, FolderSummary
    from paragon_engine.model_source import ModelSource
    from paragon_engine.pictures import WriteOptions
    from paragon_engine.upscale import UpscaleSettings

FORMAT_CHOICES = ("png", "jpg", "webp", "tif", "bmp", "avif", "same")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=_place,
        nargs="+",
        help="pictures, folders of pictures, or patterns such as 'holiday/**/*.jpg' (in quotes)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        required=True,
        help="file to write, its extension decides the format; or a folder, which anything but one picture requires "
        "(a name without extension, or with a slash at its end, is one)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs (inputs never are)")
    add_model(parser)
    add_restore(parser)
    add_size(parser)
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-pixels", type=positive_int, metavar="N", help="refuse inputs with more (default: 178956970)"
    )
    limits.add_argument(
        "--max-output-pixels", type=positive_int, metavar="N", help="refuse outputs with more (default: 1073741824)"
    )
    add_tiles(parser)
    _add_writing(parser)
    _add_folder(parser)


def add_tiles(parser: argparse.ArgumentParser) -> None:
    """How pictures are divided."""
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


def _add_writing(parser: argparse.ArgumentParser) -> None:
    writing = parser.add_argument_group("how outputs are written")
    writing.add_argument(
        "--quality", type=positive_int, default=95, metavar="Q", help="of JPEG, WebP and AVIF, 1 to 100 (default: 95)"
    )
    writing.add_argument("--lossless", action="store_true", help="WebP without loss")
    writing.add_argument(
        "--png-level", type=int, default=6, metavar="L", help="effort of PNG's compression, 0 to 9 (default: 6)"
    )
    writing.add_argument(
        "--bits", type=int, choices=(8, 16), help="per channel in PNG and TIFF (default: those of the input)"
    )
    writing.add_argument(
        "--strip", action="store_true", help="leave out EXIF, XMP, IPTC and text; the colour profile stays"
    )
    writing.add_argument(
        "--compare", action="store_true", help="also write NAME.compare.jpg: before and after with a magnified part"
    )


def _add_folder(parser: argparse.ArgumentParser) -> None:
    folder = parser.add_argument_group("folders")
    folder.add_argument("--recursive", action="store_true", help="sub-folders too; the output mirrors them")
    folder.add_argument(
        "--format", choices=FORMAT_CHOICES, default="png", help="format of the outputs (default: png); same keeps it"
    )
    folder.add_argument(
        "--skip-existing",
        action="store_true",
        help="skip an existing output only if it is whole and of the right size, else make it again "
        "(without this option, existing outputs are left alone unseen)",
    )
    folder.add_argument(
        "--shard", metavar="I/N", help="do the I-th of N parts; which files it has follows from their names alone"
    )
    folder.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="spread over N workers of a Ray cluster (the one of RAY_ADDRESS, else one on this machine)",
    )
    folder.add_argument("--report", type=Path, metavar="PAGE", help="write an HTML page with sliders, before and after")


def run(args: argparse.Namespace) -> int:
    """Check what can be checked before loading a model, then load and upscale."""
    from paragon_engine.jobs import is_pattern

    settings, options = _settings(args), _write_options(args)
    one: Path | str = args.input[0]
    args.into_folder = args.output.endswith(("/", os.sep)) or not Path(args.output).suffix
    args.output = _place(args.output)
    progress = console.progress(quiet=args.quiet)
    try:
        addresses = [place for place in (*args.input, args.output) if isinstance(place, str)]
        if addresses and not args.workers:
            raise InvalidOptionError(f"{addresses[0]}: addresses are for --workers; give paths")
        single = len(args.input) == 1 and not args.workers
        if single and isinstance(one, Path) and not one.is_dir() and not is_pattern(one):
            return _file(args, one, settings, options, progress)
        return _folder(args, settings, options, progress)
    finally:
        progress.finish()


def _settings(args: argparse.Namespace) -> UpscaleSettings:
    from PIL import Image

    limits = {name: value for name in ("max_pixels", "max_output_pixels") if (value := getattr(args, name))}
    if args.max_pixels:
        Image.MAX_IMAGE_PIXELS = args.max_pixels  # Pillow has a limit of its own
    return replace(size_settings(args), **limits)


def size_settings(args: argparse.Namespace) -> UpscaleSettings:
    """Settings from the options of `add_size` and `add_tiles`.

    Raises:
        InvalidOptionError: options contradict each other.
    """
    from paragon_engine.upscale import UpscaleSettings

    given = args.width is not None or args.height is not None
    if given and args.outscale is not None:
        raise InvalidOptionError("--outscale and --width or --height contradict each other: give one of them")
    if args.fit and not given:
        raise InvalidOptionError("--fit needs a box: give --width, --height or both")
    return UpscaleSettings(
        tile=args.tile,
        tiling=args.tiling,
        overlap=args.overlap,
        outscale=args.outscale,
        size=(args.width, args.height) if given else None,
        fit=args.fit,
        repeat=not args.once,
    )


def _write_options(args: argparse.Namespace) -> WriteOptions:
    from paragon_engine.pictures import WriteOptions

    return WriteOptions(
        quality=args.quality,
        lossless=args.lossless,
        png_level=args.png_level,
        bits=args.bits,
        metadata=not args.strip,
    )


def _file(
    args: argparse.Namespace, source: Path, settings: UpscaleSettings, options: WriteOptions, progress: Progress
) -> int:
    from paragon_arch.files.atomic import make_folder
    from paragon_engine.jobs import write_report
    from paragon_engine.pictures import image_size, output_format
    from paragon_engine.upscale import refuse_existing, upscale_file

    if not source.exists():
        raise ImageError(f"{source}: no such file")
    into = args.output.is_dir() or (args.into_folder and not args.output.exists())
    target = _inside(args.output, source, args.format) if into else args.output
    output_format(target)
    if not into or target.parent.is_dir():
        refuse_existing(source, target, overwrite=args.overwrite)
    image_size(source)  # or a message, before a model is loaded and a folder made for nothing
    chosen = restoring(model_source(args), args.restore)
    upscaler, began = chosen.load(), time.monotonic()
    if into:
        make_folder(target.parent)
    upscale_file(upscaler, source, target, settings, options=options, overwrite=args.overwrite, progress=progress)
    progress.finish()
    log.info("%s: written in %s", target, duration(time.monotonic() - began))
    if args.compare:
        _compare(source, target, overwrite=args.overwrite)
    if args.report:
        write_report(
            [(source, target)], args.report, overwrite=args.overwrite, note=report_note(chosen), progress=progress
        )
    return ExitCode.OK


def _inside(folder: Path, source: Path, name: str) -> Path:
    """The place in a folder for the result of one picture."""
    from paragon_engine.jobs import plan
    from paragon_engine.pictures import extension_of

    return plan([source], folder, recursive=False, extension=extension_of(name))[0].target


def _compare(source: Path, target: Path, *, overwrite: bool) -> None:
    from paragon_engine.jobs import write_comparison
    from paragon_engine.pictures import read_image

    page = target.with_name(target.stem + ".compare.jpg")
    after = read_image(target, max_pixels=2**31)
    write_comparison(read_image(source, max_pixels=2**31), after, page, overwrite=overwrite)
    log.info("%s: comparison", page)


def _folder(args: argparse.Namespace, settings: UpscaleSettings, options: WriteOptions, progress: Progress) -> int:
    from paragon_engine.jobs import FolderOptions, Shard, upscale_files, write_report
    from paragon_engine.pictures import extension_of

    folder = FolderOptions(
        recursive=args.recursive,
        extension=extension_of(args.format),
        overwrite=args.overwrite,
        verify=args.skip_existing,
        shard=Shard.parse(args.shard) if args.shard else None,
        write=options,
        compare=args.compare,
    )
    model, began = restoring(model_source(args), args.restore), time.monotonic()
    if args.workers:
        summary = _on_cluster(args, model, settings, folder, progress)
    else:
        summary = upscale_files(model.load(), args.input, args.output, settings, folder, progress=progress)
    progress.finish()
    log.info("%s: %s, in %s", args.output, summary, duration(time.monotonic() - began))
    if args.report:
        write_report(summary.pairs, args.report, overwrite=args.overwrite, note=report_note(model), progress=progress)
        log.info("%s: report", args.report)
    return ExitCode.PARTIAL if summary.failed else ExitCode.OK


def _on_cluster(
    args: argparse.Namespace,
    model: ModelSource,
    settings: UpscaleSettings,
    options: FolderOptions,
    progress: Progress,
) -> FolderSummary:
    from paragon_engine.jobs.cluster import upscale_on_cluster

    return upscale_on_cluster(
        model, args.input, args.output, settings, options, workers=args.workers, progress=progress
    )


def _place(text: str) -> Path | str:
    """A path; an address (``s3://...``) stays text."""
    return text if "://" in text else Path(text)


def _tile(text: str) -> int | str:
    if text == "auto" or text == "0":
        return 0 if text == "0" else text
    return positive_int(text)


def _overlap(text: str) -> int:
    return 0 if text == "0" else positive_int(text)


COMMAND = Command(
    name="upscale",
    summary="enlarge pictures or folders of pictures",
    manual="""\
Enlarge PNG, JPEG, WebP, TIFF, BMP and (where Pillow has it) AVIF pictures. Transparency, 16 bits, ICC profile, EXIF,
XMP and IPTC data are kept, the orientation is applied, grayscale stays grayscale. Outputs appear complete or not at
all. Videos: see the command video.

In a folder, outputs that exist are skipped and a picture that fails does not stop the others (exit code 9).
--scale tells the scale of a checkpoint that does not say it; --outscale asks for another size of the output.""",
    examples="""\
  %(prog)s photo.jpg -o photo_2x.png
  %(prog)s photo.jpg -o photo_3x.webp --outscale 3
  %(prog)s scan.tif -o wall.tif --width 7680 --height 4320 --fit --compare
  %(prog)s --model 4x_stream.safetensors --tile 256 scan.tif -o scan_4x.tif
  %(prog)s --recursive holiday/ -o holiday_2x/ --format same --skip-existing --report holiday.html
  %(prog)s 'holiday/**/*.jpg' -o holiday_2x/ --shard 2/8""",
    configure=configure,
    run=run,
)
