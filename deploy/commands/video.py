"""``video``: enlarge a video."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from paragon_engine.progress import duration, log

from .. import console
from ..command import Command, positive_int
from ..exit_codes import ExitCode
from ..model_options import add_model, add_size, model_source
from ..restore_options import add_restore, restoring
from .upscale import add_tiles, size_settings

if TYPE_CHECKING:
    from paragon_engine.video import VideoSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("input", metavar="INPUT", type=Path, help="video: anything that FFmpeg reads")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        type=Path,
        required=True,
        help=".mp4, .m4v, .mov, .mkv or .webm; of an animation also .webp, .apng or .gif",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output (the input never is)")
    add_model(parser)
    add_restore(parser)
    add_size(parser)
    add_tiles(parser)
    encoding = parser.add_argument_group("encoding")
    encoding.add_argument(
        "--codec",
        choices=("auto", "h264", "hevc", "av1", "vp9", "ffv1", "prores"),
        default="auto",
        help="auto (default): the input's where we write it, else h264; ffv1 is lossless",
    )
    encoding.add_argument("--crf", type=int, metavar="N", help="quality, lower is better (default: 16 for h264, ...)")
    encoding.add_argument(
        "--preset", metavar="P", help="speed against size, in the encoder's words: fast, slow, 4, ..."
    )
    encoding.add_argument("--bits", type=int, choices=(8, 10), help="per sample (default: those of the input)")
    encoding.add_argument("--no-audio", action="store_true", help="leave out the sound")
    encoding.add_argument("--no-subtitles", action="store_true", help="leave out the subtitles")
    parser.add_argument(
        "--feedback",
        type=float,
        default=0.0,
        metavar="W",
        help="weight of the frames before in each frame, 0 (default, off) to 1: steadier still scenes, softer motion; "
        "only for the layouts v2-v10 and v2-release",
    )
    parser.add_argument(
        "--segment", type=positive_int, default=240, metavar="N", help="frames between safe points (default: 240)"
    )


def run(args: argparse.Namespace) -> int:
    """Load the model and upscale; the engine checks everything else before it begins."""
    from paragon_engine.upscale import refuse_existing
    from paragon_engine.video import upscale_video

    refuse_existing(args.input, args.output, overwrite=args.overwrite)
    settings = _settings(args)
    upscaler, began = restoring(model_source(args), args.restore).load(), time.monotonic()
    progress = console.progress(quiet=args.quiet)
    try:
        summary = upscale_video(
            upscaler, args.input, args.output, settings, overwrite=args.overwrite, progress=progress
        )
    finally:
        progress.finish()
    log.info("%s: %s, in %s", args.output, summary, duration(time.monotonic() - began))
    return ExitCode.OK


def _settings(args: argparse.Namespace) -> VideoSettings:
    from paragon_engine.video import EncodeOptions, FrameSettings, VideoSettings

    return VideoSettings(
        frames=FrameSettings(size_settings(args), feedback=args.feedback),
        encode=EncodeOptions(args.codec, args.crf, args.preset, args.bits),
        audio=not args.no_audio,
        subtitles=not args.no_subtitles,
        segment=args.segment,
    )


COMMAND = Command(
    name="video",
    summary="enlarge a video",
    manual="""\
Enlarge a video. Sound, subtitles, chapters, metadata, colour tags, bit depth and the time of every frame are kept,
rotation is applied. Finished segments lie in OUTPUT.parts until the end: the same command goes on after an
interruption. Needs PyAV (pip install av). GIF, animated WebP and APNG become one of them, with their transparency.""",
    examples="""\
  %(prog)s clip.mp4 -o clip_2x.mp4
  %(prog)s film.mkv -o film_4k.mkv --width 3840 --height 2160 --fit --codec hevc --crf 20 --bits 10
  %(prog)s clip.mp4 -o clip_2x.mkv --codec ffv1""",
    configure=configure,
    run=run,
)
