"""The program: parse the arguments, run a command, turn whatever happens into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from . import console
from .command import Command
from .commands import (
    benchmark,
    blend,
    calibrate,
    chainner,
    compare,
    doctor,
    engine,
    export,
    fuse,
    inspect,
    quantize,
    release,
    upscale,
    verify,
    video,
)
from .exit_codes import ExitCode, exit_code, table

COMMANDS: tuple[Command, ...] = (
    inspect.COMMAND,
    fuse.COMMAND,
    blend.COMMAND,
    upscale.COMMAND,
    video.COMMAND,
    calibrate.COMMAND,
    export.COMMAND,
    quantize.COMMAND,
    verify.COMMAND,
    compare.COMMAND,
    engine.COMMAND,
    release.COMMAND,
    benchmark.COMMAND,
    chainner.COMMAND,
    doctor.COMMAND,
)

_DESCRIPTION = "Inspect, fuse and run ParagonSR and ParagonSR2 super-resolution models of any generation."
_EPILOG = f"""\
"%(prog)s COMMAND --help" is the manual of a command.

Results go to standard output; progress, warnings and errors go to standard error.
PARAGONSR_DEBUG=1 in the environment shows tracebacks.

exit codes:
{table()}
"""


def program_name() -> str:
    """How the user starts us: ``paragonsr`` once installed, ``python -m deploy`` in a checkout."""
    package = (__package__ or "").rpartition(".")[2]
    return "paragonsr" if package == "paragonsr" else "python -m deploy"


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, from `COMMANDS`."""
    parser = argparse.ArgumentParser(
        prog=program_name(),
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=command.manual,
            epilog=f'examples:\n{command.examples}\n\nexit codes: see "{parser.prog} --help"',
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(sub)
        sub.add_argument("-q", "--quiet", action="store_true", help="show no progress and no notes, only problems")
        sub.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: arguments without the program's name; None for those of the process.

    Returns:
        The exit code; see `exit_codes`.
    """
    console.tolerate_code_pages()
    args = build_parser().parse_args(argv)
    with console.messages(quiet=args.quiet):
        try:
            return args.run(args)
        except BrokenPipeError:  # the reader of our output has gone, e.g. `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.UNEXPECTED
        except (Exception, KeyboardInterrupt) as error:
            if os.environ.get("PARAGONSR_DEBUG") == "1":
                raise
            return console.report(error, exit_code(error))
