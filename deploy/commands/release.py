"""``release``: everything that a model author publishes, proved, in one folder."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paragon_arch.errors import CancelledError, InvalidOptionError, ParagonError
from paragon_engine.progress import Progress, log

from .. import console
from ..command import Command, add_overrides, model_file, overrides
from ..exit_codes import ExitCode, exit_code
from ..reports import add_json, add_pictures, say_json
from .export import add_graph_options, graph_options, size

if TYPE_CHECKING:
    from paragon_engine.release.run import Release
    from paragon_engine.release.settings import ReleaseSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("input", metavar="IN", type=Path, help="checkpoint, shipped model, or manifest of many (.toml)")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace another release in that folder")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be made")
    parser.add_argument(
        "--calibration",
        metavar="P",
        type=Path,
        action="append",
        default=[],
        help="photograph or folder to calibrate INT8 on; may be repeated (default: no INT8); without --pictures every "
        "fourth is kept for verifying",
    )
    parser.add_argument("--video", action="store_true", help="also the video graphs, where the layout has them")
    parser.add_argument("--no-speed", action="store_true", help="do not measure the speed on this machine")
    parser.add_argument(
        "--accept-identity-kernel",
        action="store_true",
        help="release a dynamic layout whose kernels were never tracked",
    )
    parser.add_argument("--title", default="", metavar="T", help="heading of the card (default: the checkpoint's name)")
    parser.add_argument("--description", default="", metavar="T", help="a paragraph for the card")
    parser.add_argument("--sign", metavar="KEY", type=Path, help="sign with this private key (elliptic curve, PEM)")
    add_profile(parser)
    add_pictures(parser)
    add_json(parser)
    add_graph_options(parser)
    add_overrides(parser)


def add_profile(parser: argparse.ArgumentParser) -> None:
    """The sizes of a TensorRT engine, which `engine` has too."""
    group = parser.add_argument_group("TensorRT", "height x width of the input")
    group.add_argument("--min", type=size, default=(64, 64), metavar="HxW", help="smallest (default: 64x64)")
    group.add_argument("--opt", type=size, default=(720, 1280), metavar="HxW", help="usual one (default: 720x1280)")
    group.add_argument("--max", type=size, default=(1080, 1920), metavar="HxW", help="largest (default: 1080x1920)")


def profile(args: argparse.Namespace) -> Any:
    """What `add_profile` asks for."""
    from paragon_engine.engines import Profile

    return Profile(args.min, args.opt, args.max)


def run(args: argparse.Namespace) -> int:
    """Release every model; one that fails does not stop the others."""
    from paragon_engine.release.run import plan

    chosen = _settings(args)
    if args.dry_run:
        return _dry_run(args, [(item, plan(item)) for item in chosen])
    progress = console.progress(quiet=args.quiet)
    records, codes = list[dict[str, Any]](), list[ExitCode]()
    for item in chosen:
        record, code = _one(item, args, progress)
        records.append(record)
        codes.append(code)
    if args.json:
        say_json(records)
    failed = [code for code in codes if code is not ExitCode.OK]
    return failed[0] if failed else ExitCode.OK


def _settings(args: argparse.Namespace) -> list[ReleaseSettings]:
    from paragon_engine.release.settings import ReleaseSettings, read_manifest

    if args.input.suffix.lower() == ".toml":
        if args.pictures or args.calibration or any(value is not None for value in overrides(args).values()):
            raise InvalidOptionError(f"{args.input}: a manifest names pictures, calibration and values itself")
        return read_manifest(args.input, args.output)
    return [
        ReleaseSettings(
            checkpoint=model_file(args.input),
            output=args.output,
            title=args.title,
            description=args.description,
            overrides={name: value for name, value in overrides(args).items() if value is not None},
            export=replace(graph_options(args), video=False),
            pictures=tuple(args.pictures),
            calibration=tuple(args.calibration),
            video=args.video,
            accept_identity=args.accept_identity_kernel,
            speed=not args.no_speed,
            profile=profile(args),
        )
    ]


def _dry_run(args: argparse.Namespace, planned: list[tuple[ReleaseSettings, list[str]]]) -> int:
    if args.json:
        say_json([{"folder": str(item.output), "files": names} for item, names in planned])
        return ExitCode.OK
    for item, names in planned:
        console.say(f"{item.checkpoint} -> {item.output}")
        for name in names:
            console.say(f"  {name}")
    return ExitCode.OK


def _one(item: ReleaseSettings, args: argparse.Namespace, progress: Progress) -> tuple[dict[str, Any], ExitCode]:
    from paragon_engine.release.run import release

    try:
        result = release(item, overwrite=args.overwrite, progress=progress)
        if args.sign is not None:
            from paragon_engine.release.signing import sign

            log.info("%s: signed", sign(result.folder, args.sign))
    except CancelledError:
        raise
    except ParagonError as error:
        progress.finish()
        code = console.report(error, exit_code(error))
        return {"folder": str(item.output), "error": console.describe(error, code), "exit_code": int(code)}, code
    code = ExitCode.INCOMPLETE if result.failed else ExitCode.OK
    if not args.json:
        for line in _lines(result):
            console.say(line)
    log.info("%s: %s", result.folder, "written" if result.fresh else "is this release already; nothing was done")
    record = {"folder": str(result.folder), "fresh": result.fresh, "manifest": result.manifest, "exit_code": int(code)}
    return record, code


def _lines(result: Release) -> list[str]:
    rows = [("file", "bytes", "sha256")]
    rows += [(name, f"{item['bytes']:,}", item["sha256"][:16]) for name, item in result.manifest["files"].items()]
    failures = [f"NOT made: {name}: {reason}" for name, reason in result.failed.items()]
    return [str(result.folder), *(f"  {line}" for line in console.columns(rows)), *failures]


COMMAND = Command(
    name="release",
    summary="everything that a model author publishes, proved, in one folder",
    manual="""\
Make, from a training checkpoint: the fused checkpoint, ONNX in FP32, FP16 and (with --calibration) INT8, the TensorRT
commands, sample pictures, a model card with all measured figures, and manifest.json with the SHA-256 of everything.
Each artefact is verified against the checkpoint. If the fused checkpoint or FP32 fails, nothing is released (exit code
10); if FP16 or INT8 fails, it is left out and the card says why (exit code 11).

The folder is made under a hidden name beside its place and renamed at the end. After a crash, the same command goes on
where it stopped. A second run finds the release complete and does nothing; a run into another folder gives the same
bytes (dates are those of SOURCE_DATE_EPOCH, else of the checkpoint; speeds are measured once and remembered).

A manifest (.toml) has a [[model]] table for each model, which becomes a folder below the output:

  [defaults]
  author = "Jane Doe"
  license = "CC-BY-4.0"

  [[model]]
  checkpoint = "2x_model.safetensors"
  calibration = ["photos"]

docs/deployment.md lists all keys.

--sign writes model.sig into the folder, a signature of all its files by OpenSSF's model-signing. `verify` checks
it.""",
    examples="""\
  %(prog)s 2x_model.safetensors -o out/
  %(prog)s 2x_model.safetensors -o out/ --calibration photos/ --author "Jane Doe" --license CC-BY-4.0
  %(prog)s models.toml -o releases/ --dry-run""",
    configure=configure,
    run=run,
)
