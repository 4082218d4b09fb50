"""Windows renames and deletes no file that somebody has open, and virus scanners open every new one for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds after which a file that is still held is given up."""
_BUSY = (5, 32)
"""Windows' codes ERROR_ACCESS_DENIED, which it also gives for a file that another program is done with but has not
closed, and ERROR_SHARING_VIOLATION."""


def is_held(error: BaseException) -> bool:
    """Whether an error is Windows' way to say that another program may have the file open."""
    return getattr(error, "winerror", None) in _BUSY


def patiently(action: Callable[[], T]) -> T:
    """Do something with a file, again and again for `PATIENCE` seconds where another program holds it.

    Args:
        action: does all of its work or none.

    Raises:
        OSError: what the last attempt raised; errors of any other kind pass at once.
    """
    deadline, pause = time.monotonic() + PATIENCE, 0.01
    while True:
        try:
            return action()
        except OSError as error:
            if not is_held(error) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 0.25)
