"""Names of output files that a workflow brings along: they may come from a stranger."""

from __future__ import annotations

import os
from pathlib import Path

from paragon_arch.errors import InvalidOptionError


def contained_path(folder: Path, name: str, *, suffix: str) -> Path:
    """The file `name` inside `folder`, symbolic links resolved; nothing is created.

    Args:
        folder: where the file has to be, at any depth.
        name: relative, with / or a backslash between sub-folders.
        suffix: added where the name does not end in it.

    Raises:
        InvalidOptionError: no name, one that no file can have, or one that leads out of the folder.
    """
    text = name.strip().replace("\\", "/")
    # a colon stands behind drives and before streams of Windows
    if not text or text.endswith("/") or ":" in text or not text.isprintable():
        raise InvalidOptionError(f"file name {name!r} is not usable: give a plain name such as my_model")
    if not text.lower().endswith(suffix):
        text += suffix
    base = os.path.realpath(folder)
    target = os.path.realpath(os.path.join(base, text))  # noqa: PTH118  (an absolute name replaces base: seen below)
    if not _inside(base, target):
        raise InvalidOptionError(f"file name {name!r} leads out of {base}: give a name inside that folder")
    return Path(target)


def _inside(base: str, target: str) -> bool:
    try:
        return os.path.commonpath([base, target]) == base
    except ValueError:  # another drive
        return False
