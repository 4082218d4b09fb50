"""The option ``--restore`` of the commands that enlarge, and what follows from it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .command import share

if TYPE_CHECKING:
    from paragon_engine.model_source import ModelSource
    from paragon_engine.pictures import Picture
    from paragon_engine.restoring import Restore


def add_restore(parser: argparse.ArgumentParser) -> None:
    """How much to restore."""
    parser.add_argument(
        "--restore",
        type=_restore,
        metavar="auto|S",
        help="how much to remove compression and noise, 0 to 1, with models that have a restoring twin; auto (default "
        "with those): as much as each picture needs, by measuring it",
    )


def restoring(source: ModelSource, restore: Restore | None) -> ModelSource:
    """A model that restores as the option says, or, where nothing was said, as is usual for it.

    Raises:
        InvalidOptionError: a number was given, and the model has no twin.
    """
    from paragon_engine.restoring import pair_of, usual

    if isinstance(restore, float):
        pair_of(source.path)  # or a message, before anything is loaded
    return replace(source, restore=usual(source.path) if restore is None else restore)


def report_note(source: ModelSource) -> Callable[[Picture], str] | None:
    """What a report says about a picture; None where nothing was chosen."""
    from paragon_engine.restoring import findings, twins_of

    if source.restore is None or twins_of(source.path) is None:
        return None
    return findings if source.restore == "auto" else lambda _: f"restored by {source.restore:.2f}"


def _restore(text: str) -> Restore:
    """The word auto, or a number of 0 to 1, for argparse."""
    if text == "auto":
        return "auto"
    return share(text, what="neither auto nor a number of 0 to 1")
