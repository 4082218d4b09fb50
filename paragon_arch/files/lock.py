"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import IO

from ..errors import OutputError, OutputExistsError
from .ours import refuse_link

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Generator[None, None, None]:
    """Hold a lock while the block runs. The system releases it when the process ends, in whatever way.

    Args:
        path: of the lock, an empty file that is created and, at the end, removed; its folder exists. A link, or a file
            with content, is none of ours.
        what: is made there, for the message.

    Raises:
        OutputError: another process holds the lock, it cannot be created, or something else has its name.
    """
    refuse_link(path)
    try:
        stream = path.open("ab")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error}): check the folder and its permissions") from error
    with stream:
        if os.fstat(stream.fileno()).st_size:
            raise OutputExistsError(f"{path}: is in the way and not ours; move it or choose another name")
        if not _taken(stream, path):
            raise OutputError(f"{what}: another process is making it; wait for it or choose another name")
        try:
            yield
        finally:
            if os.name != "nt":  # which removes no open files
                path.unlink(missing_ok=True)
    if os.name == "nt":
        with contextlib.suppress(OSError):
            path.unlink()


def _taken(stream: IO[bytes], path: Path) -> bool:
    """Whether the lock is ours now, and the file still there: its last holder may just have removed it."""
    try:
        _lock(stream)
    except OSError as error:
        return error.errno not in _BUSY  # a file system that knows no locks does without
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(stream: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
