"""Errors in the words of the app's window: its users see nodes and switches, not options of a command line."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from paragon_arch.errors import ParagonError

WORDS = (
    (r"ask for overwriting", "turn on Overwrite"),
    (r"has no (scale|alpha); leave that option out", r"has none: turn off Set \1"),
    (r"leave that option out", "turn that switch off, or set the value that the file has"),
    (r"\b(scale|alpha)=([0-9.]+)", r"\1 \2"),
    (
        r"calibrate the model on images first, or accept that \(--accept-identity-kernel\)",
        "put Calibrate ParagonSR Model before this node, or turn on Accept Identity Kernels",
    ),
    (r"use --?device cpu\b", "choose the CPU in the settings"),
    (r"\bset scale\b|\bSet scale\b", "Set Scale"),
)
"""Patterns and what takes their place."""


def in_the_apps_words(text: str) -> str:
    """A message of the library as a user of the app needs it."""
    for pattern, replacement in WORDS:
        text = re.sub(pattern, replacement, text)
    return text


@contextmanager
def apps_words() -> Generator[None, None, None]:
    """Reword what goes wrong inside; its type stays."""
    try:
        yield
    except ParagonError as error:
        error.args = tuple(in_the_apps_words(item) if isinstance(item, str) else item for item in error.args)
        raise


def in_levels(difference: float) -> str:
    """A difference between pictures in 0..1 as their users count it."""
    return f"{255 * difference:.2g} of 255 levels"
