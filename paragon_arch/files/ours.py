"""What may be deleted: files that we made, by name, in a folder that we marked. Nothing else, ever.

Each user of this module has a mark (a journal, a manifest, a job file) that says that a folder is ours, and names that
only we give. A folder without the mark, or with anything else in it, is refused before the work begins. Links are never
followed, and a folder is removed only when nothing is left in it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from ..errors import OutputExistsError

Ours = Callable[[str], bool]
"""Whether a name is one that we give."""


def refuse_link(path: Path) -> None:
    """Refuse a path that is a link, before anything is written behind it.

    Raises:
        OutputExistsError: it is one.
    """
    if _is_link(path):
        raise OutputExistsError(f"{path}: is a link, and is in the way; remove it or choose another name")


def refuse_strangers(folder: Path, ours: Ours) -> None:
    """Refuse a folder that we would empty, if it is a link or holds what we did not make.

    Raises:
        OutputExistsError: so; it names what is in the way.
        OSError: the folder cannot be read.
    """
    refuse_link(folder)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise OutputExistsError(f"{folder}: is in the way and not ours; move it or choose another name")
    for path in sorted(folder.iterdir()):
        if not (ours(path.name) and _is_file(path)):
            raise OutputExistsError(f"{path}: is in the way and not ours; move it or choose another name")


def remove_ours(folder: Path, ours: Ours, *, last: str = "") -> bool:
    """Remove our files from a folder, then the folder, if nothing else is in it.

    Args:
        folder: with our mark; a link is left alone.
        ours: which names.
        last: of the mark, which goes after all the others.

    Returns:
        Whether the folder is gone.

    Raises:
        OSError: a file of ours cannot be removed.
    """
    if _is_link(folder) or not folder.is_dir():
        return not os.path.lexists(folder)
    for path in sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name)):
        if ours(path.name) and _is_file(path):
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def identity(folder: Path) -> list[int] | None:
    """What a folder keeps when it is renamed; None if there is none, or a link."""
    try:
        status = folder.lstat()
    except OSError:
        return None
    return [status.st_dev, status.st_ino] if stat.S_ISDIR(status.st_mode) else None


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _is_link(path: Path) -> bool:
    """Symbolic links, and the junctions of Windows, which are links to folders."""
    try:
        status = path.lstat()
    except OSError:
        return False
    junction = getattr(status, "st_reparse_tag", 0) == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)
    return stat.S_ISLNK(status.st_mode) or junction
