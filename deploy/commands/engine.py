"""``engine``: a TensorRT engine of an ONNX file, or the commands that make one."""

from __future__ import annotations

import argparse
from pathlib import Path

from paragon_arch.files.records import read_json
from paragon_engine.progress import log

from .. import console
from ..command import Command
from ..exit_codes import ExitCode
from ..reports import add_json, say_json
from .release import add_profile, profile


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("input", metavar="IN", type=Path, help="ONNX file, e.g. the FP16 one that export makes")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, default=Path(), help="cache (default: here)")
    parser.add_argument("--commands", action="store_true", help="only print the trtexec commands")
    parser.add_argument("--rebuild", action="store_true", help="build it even if the cache has it")
    parser.add_argument(
        "--check", action="store_true", help="IN is an .engine: say whether it was made for this machine (exit code 3)"
    )
    add_profile(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Build, or print how to."""
    from paragon_engine.engines import build_engine, check_engine, tensorrt_usable, trtexec_commands
    from paragon_engine.onnx_export import read_graph

    if args.check:
        check_engine(args.input)
        log.info("%s: made for this machine", args.input)
        if args.json:
            say_json({"engine": str(args.input), **read_json(args.input.with_suffix(".json"))})
        return ExitCode.OK
    commands = trtexec_commands(str(args.input), read_graph(args.input), profile(args))
    missing = tensorrt_usable()
    if args.commands or missing is not None:
        if not args.commands:
            log.warning("%s", missing)
        return _print(commands, args, missing)
    engine, built = build_engine(args.input, args.output, profile(args), rebuild=args.rebuild)
    log.info("%s: %s", engine, "built" if built else "is in the cache already")
    if args.json:
        say_json({"engine": str(engine), "built": built, "commands": commands})
    else:
        console.say(str(engine))
    return ExitCode.OK


def _print(commands: dict[str, str], args: argparse.Namespace, missing: str | None) -> int:
    if args.json:
        say_json({"engine": None, "missing": missing, "commands": commands})
    else:
        for generation, command in commands.items():
            console.say(f"# TensorRT {generation}.x\n{command}")
    return ExitCode.OK if args.commands else ExitCode.OPTION


COMMAND = Command(
    name="engine",
    summary="build a TensorRT engine, or print the commands that do",
    manual="""\
Build the TensorRT engine of an ONNX file for this machine, or find it in the cache: the name carries a key of GPU,
driver, TensorRT version, precision, sizes and model. An engine made elsewhere is refused with what differs.

The precision is that of the ONNX file (networks are strongly typed, the only kind that TensorRT 11 knows): give the
FP16 file for an FP16 engine. Where TensorRT or a GPU is missing, the exact trtexec commands for TensorRT 10 and 11 are
printed (exit code 5).""",
    examples="""\
  %(prog)s 2x_model_op18_fp16.onnx -o engines/
  %(prog)s 2x_model_op18_fp16.onnx --commands --opt 1080x1920 --max 1080x1920
  %(prog)s --check engines/2x_model_op18_fp16_0123456789ab.engine""",
    configure=configure,
    run=run,
)
