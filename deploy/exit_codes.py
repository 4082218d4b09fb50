"""Exit codes: the one table behind the program's behaviour, its ``--help`` and its manual."""

from __future__ import annotations

from enum import IntEnum

from paragon_arch import errors


class ExitCode(IntEnum):
    """What the program's exit status means."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    CHECKPOINT = 3
    LAYOUT = 4
    OPTION = 5
    IMAGE = 6
    OUTPUT = 7
    FUSION = 8
    PARTIAL = 9
    VERIFICATION = 10
    INCOMPLETE = 11
    PROBLEM = 12
    CANCELLED = 130


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.UNEXPECTED: "an unexpected error (a bug, or out of memory)",
    ExitCode.USAGE: "wrong usage of the command line",
    ExitCode.CHECKPOINT: "a model file is missing, damaged, unsafe or of an unknown format",
    ExitCode.LAYOUT: "the file's tensors are not a model of the family, or one that is not supported",
    ExitCode.OPTION: "a value is needed or invalid, e.g. the scale is ambiguous: the message names the option",
    ExitCode.IMAGE: "a picture cannot be read",
    ExitCode.OUTPUT: "the output cannot be written, or exists already",
    ExitCode.FUSION: "fusing was refused or its check failed",
    ExitCode.PARTIAL: "some pictures of a folder failed; the others are done",
    ExitCode.VERIFICATION: "an artefact differs from its checkpoint by more than is allowed; it was not written",
    ExitCode.INCOMPLETE: "a release without an artefact that was asked for, because it failed; the others are complete",
    ExitCode.PROBLEM: "doctor found something that does not work on this computer",
    ExitCode.CANCELLED: "stopped by the user",
}

_CODES: dict[type[BaseException], ExitCode] = {
    errors.CheckpointError: ExitCode.CHECKPOINT,
    errors.LayoutError: ExitCode.LAYOUT,
    errors.OptionError: ExitCode.OPTION,
    errors.ImageError: ExitCode.IMAGE,
    errors.QualityError: ExitCode.VERIFICATION,  # before the class above it
    errors.OutputError: ExitCode.OUTPUT,
    errors.FusionError: ExitCode.FUSION,
    errors.CancelledError: ExitCode.CANCELLED,
    KeyboardInterrupt: ExitCode.CANCELLED,
}


def exit_code(error: BaseException) -> ExitCode:
    """The exit code for an exception."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), ExitCode.UNEXPECTED)


def table() -> str:
    """The codes and their meanings, one a line."""
    return "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())
