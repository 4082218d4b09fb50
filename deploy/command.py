"""What a sub-command is, and the options that several of them share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragon_arch.errors import OutputError


@dataclass(frozen=True)
class Command:
    """One sub-command; `paragonsr.cli.COMMANDS` lists them all."""

    name: str
    summary: str
    """One line for the list of commands."""
    manual: str
    """What it does, above the options."""
    examples: str
    """Below the options. ``%(prog)s`` stands for the program and the command."""
    configure: Callable[[argparse.ArgumentParser], None]
    """Adds the arguments."""
    run: Callable[[argparse.Namespace], int]
    """Does the work and returns the exit code. Imports what needs torch itself: ``--help`` must not wait for it."""


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Options for what a checkpoint may not say."""
    group = parser.add_argument_group(
        "values that a checkpoint may not store",
        "Each is taken from the first source that knows it: the option here, a hint in the file,\n"
        "the tensors' shapes, the file's name, a measurement on the model, the layout's default.",
    )
    group.add_argument("--scale", type=positive_int, metavar="N", help="scale that the model was made for")
    group.add_argument("--alpha", type=float, metavar="A", help="strength of the sharpening in the Magic resampler")
    group.add_argument("--window-size", type=positive_int, metavar="W", help="side of the attention windows")


def overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments for `paragon_arch.load` and `inspect` from the options of `add_overrides`."""
    return {"scale": args.scale, "alpha": args.alpha, "window_size": args.window_size}


def positive_int(text: str) -> int:
    """An integer of at least one, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return value


def model_file(name: Path) -> Path:
    """The file of a model: a path, or the name of a shipped model.

    Raises:
        CheckpointNotFoundError: neither; the message lists the models that ship.
    """
    from paragon_engine.catalog import find_model

    return find_model(str(name))


def refuse_checkpoint_output(args: argparse.Namespace) -> None:
    """Refuse, before the work, an ``args.output`` that no checkpoint made from ``args.input`` can be written to.

    ``args.input`` becomes the file of the model that it names.

    Raises:
        CheckpointNotFoundError: there is no such model.
        OutputError: not *.safetensors, or its folder does not exist.
        OutputExistsError: it is the input, or exists without ``args.overwrite``.
    """
    from paragon_engine.upscale import refuse_existing

    args.input = model_file(args.input)
    if args.output.suffix != ".safetensors":
        raise OutputError(f"{args.output}: only .safetensors is written; name the output *.safetensors")
    refuse_existing(args.input, args.output, overwrite=args.overwrite)


def share(text: str, *, what: str = "not a number of 0 to 1") -> float:
    """A number of 0 to 1, for argparse; ``what`` is said of any other text."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is {what}")
    return value


def positive_float(text: str) -> float:
    """A number above zero, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value
