"""Which files a job is made of, and where their results go."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from paragon_arch.errors import ImageError, InvalidOptionError, OutputError

from ..pictures import EXTENSIONS

_MAGIC = frozenset("*?[")


@dataclass(frozen=True)
class Job:
    """One file to upscale."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a job, each for a process of its own, on any machine.

    Which part a file belongs to follows from its name alone, so the parts need not start together or know each other.
    """

    index: int
    """1..count."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``i/n``.

        Raises:
            InvalidOptionError: not of this form, or i is not in 1..n.
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise InvalidOptionError(f"shard {text!r} makes no sense: give i/n with i from 1 to n, e.g. 2/8")
        return cls(int(index), int(count))

    def has(self, name: str) -> bool:
        """Whether a file of this relative name belongs to the part."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1


def plan(
    inputs: Sequence[Path], target: Path, *, recursive: bool, extension: str | None, shard: Shard | None = None
) -> list[Job]:
    """Jobs in a stable order.

    Where two pictures differ in their extension alone, their outputs keep it: ``a.jpg`` gives ``a.jpg.png``.

    Args:
        inputs: pictures, folders, and patterns (``holiday/**/*.jpg``); a folder's or pattern's tree is mirrored.
        target: folder for the results.
        recursive: descend into the sub-folders of folders.
        extension: of the results, with the dot; None keeps each picture's own.
        shard: leave out what does not belong to it.

    Raises:
        ImageError: an input does not exist, or there is nothing to do.
        OutputError: two inputs would have the same output.
    """
    found = [pair for path in inputs for pair in _find(path, avoid=target.resolve(), recursive=recursive)]
    if not found:
        hint = "" if recursive else " (sub-folders are only searched recursively)"
        raise ImageError(f"{', '.join(map(str, inputs))}: no pictures there{hint}")
    names = [path if extension is None else path.with_suffix(extension) for _, path in found]
    # case-insensitively, as some file systems are
    times = Counter(str(name).casefold() for name in names)
    jobs: list[Job] = []
    taken: dict[str, Path] = {}
    for (source, relative), name in zip(found, names, strict=True):
        if times[str(name).casefold()] > 1 and relative.name != name.name:
            name = name.with_name(relative.name + name.suffix)
        elif times[str(name).casefold()] > 1 and extension is not None:
            name = name.with_name(relative.name + extension)
        first = taken.setdefault(str(name).casefold(), source)
        if first is not source:
            raise OutputError(f"{first} and {source} would both become {target / name}: upscale them separately")
        if shard is None or shard.has(name.as_posix()):
            jobs.append(Job(source, target / name))
    return jobs


def _find(path: Path, *, avoid: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Pairs of (picture, its path relative to the place that is mirrored)."""
    if path.is_dir():
        yield from ((file, file.relative_to(path)) for file in _walk(path, avoid=avoid, recursive=recursive))
    elif path.exists():
        yield path, Path(path.name)
    elif _MAGIC & set(str(path)):
        root = _fixed_part(path)
        for file in sorted(root.glob(str(path.relative_to(root)))):
            hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
            if file.is_file() and not hidden and _is_picture(file.name) and avoid not in file.resolve().parents:
                yield file, file.relative_to(root)
    else:
        raise ImageError(f"{path}: no such file or folder")


def _fixed_part(pattern: Path) -> Path:
    """The folder in front of the first part with a wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if _MAGIC & set(part))
    return Path(*parts[:first])


def _walk(source: Path, *, avoid: Path, recursive: bool) -> Iterator[Path]:
    """Pictures of a folder, without those below ``avoid``: the results of an earlier run."""
    for folder, subfolders, files in os.walk(source):
        here = Path(folder)
        subfolders[:] = sorted(name for name in subfolders if (here / name).resolve() != avoid) if recursive else []
        yield from (here / name for name in sorted(files) if _is_picture(name))


def _is_picture(name: str) -> bool:
    """By its extension; hidden files (unfinished ones, other systems' side files) are none."""
    return not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS
