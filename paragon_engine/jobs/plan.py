"""Which files a job is made of, and where their results go."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from paragon_arch.errors import ImageError, InvalidOptionError, OutputError

from ..pictures import EXTENSIONS, OTHER_EXTENSIONS, readable_extensions
from ..progress import log

_MAGIC = frozenset("*?[")
_SHOWN = 3
"""Names that are shown of each kind of file that was passed over."""


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
    """Jobs in a stable order; a file that is found in several ways is done once.

    Outputs of one folder get different names, also where case does not count: where two pictures differ in their
    extension alone, their outputs keep it (``a.jpg`` gives ``a.jpg.png``), else the second one gets a number.

    Args:
        inputs: pictures, folders, and patterns (``holiday/**/*.jpg``); a folder's or pattern's tree is mirrored. What
            exists is taken by its name, whatever characters it has.
        target: folder for the results.
        recursive: descend into the sub-folders of folders.
        extension: of the results, with the dot; None keeps each picture's own.
        shard: leave out what does not belong to it.

    Raises:
        ImageError: an input does not exist, or there is nothing to do.
        OutputError: two inputs from different folders would have the same output.
    """
    passed = PassedOver()
    found: list[tuple[Path, Path]] = []
    seen: set[str] = set()
    for path in inputs:
        for source, relative in _find(path, passed, avoid=target.resolve(), recursive=recursive):
            place = os.path.join(os.path.realpath(source.parent), source.name)  # noqa: PTH118 (a link stays one)
            if place not in seen:
                seen.add(place)
                found.append((source, relative))
    if not found:
        hint = "" if recursive else " (sub-folders are only searched recursively)"
        left = f"; {passed}" if passed else ""
        raise ImageError(f"{', '.join(map(str, inputs))}: no pictures there{hint}{left}")
    if passed:
        log.warning("%s", passed)
    return [
        Job(source, target / name)
        for (source, _), name in zip(found, result_names(found, target, extension), strict=True)
        if shard is None or shard.has(name.as_posix())
    ]


def result_names(found: Sequence[tuple[Path, Path]], target: Path, extension: str | None) -> list[Path]:
    """A relative name for each result, no two of them equal."""
    names = [path.with_suffix(extension or _own_extension(path)) for _, path in found]
    times = Counter(_key(name) for name in names)
    taken: dict[str, Path] = {}
    result: list[Path] = []
    for (source, relative), name in zip(found, names, strict=True):
        if times[_key(name)] > 1 and extension is not None:
            name = name.with_name(relative.name + extension)
        first = taken.get(_key(name))
        if first is not None and first.parent != source.parent and first.name == source.name:
            raise OutputError(f"{first} and {source} would both become {target / name}: upscale them separately")
        free = name
        for number in count(2):
            if _key(free) not in taken and (free == name or not times[_key(free)]):
                break
            free = name.with_name(f"{name.stem}-{number}{name.suffix}")
        taken[_key(free)] = source
        result.append(free)
    return result


def _own_extension(path: Path) -> str:
    """The extension for a result of the same format; .png for formats that are only read."""
    return path.suffix if path.suffix.lower() in EXTENSIONS else ".png"


def _key(name: Path) -> str:
    """Equal for names that some file systems take for the same: in other case, or with accents written otherwise."""
    return unicodedata.normalize("NFC", str(name)).casefold()


@dataclass
class PassedOver:
    """Files that look like pictures, in formats that we do not read: counted, and said once."""

    files: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Names by extension."""

    def note(self, name: str) -> None:
        """Take in a file that is not read."""
        extension = Path(name).suffix.lower()
        if not name.startswith(".") and extension in OTHER_EXTENSIONS:
            self.files.setdefault(extension, []).append(name)

    def __bool__(self) -> bool:
        return bool(self.files)

    def __str__(self) -> str:
        parts: list[str] = []
        for extension, names in sorted(self.files.items()):
            shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            parts.append(f"{len(names)} {extension} ({shown}): {OTHER_EXTENSIONS[extension]}")
        return "not looked at: " + "; ".join(parts)


def _find(path: Path, passed: PassedOver, *, avoid: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Pairs of (picture, its path relative to the place that is mirrored)."""
    if path.is_dir():
        files = ((file, file.relative_to(path)) for file in _walk(path, avoid=avoid, recursive=recursive))
    elif path.exists():
        yield path, Path(path.name)
        return
    elif is_pattern(path):
        root, parts = _fixed_part(path)
        files = ((file, file.relative_to(root)) for file in _matching(root, parts) if file.is_file())
        files = (pair for pair in files if avoid not in pair[0].resolve().parents and not _hidden(pair[1]))
    else:
        raise ImageError(f"{path}: no such file or folder")
    for file, relative in files:
        if file.name.startswith("."):  # unfinished ones, other systems' side files
            continue
        if file.suffix.lower() in readable_extensions():
            yield file, relative
        else:
            passed.note(file.name)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def is_pattern(path: Path) -> bool:
    """Whether a path that is no file or folder has wildcards."""
    return bool(_MAGIC & set(str(path))) and not path.exists()


def _fixed_part(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder in front of the first part with a wildcard, and that part and those behind it.

    A part that exists is none, whatever characters it has: ``[Group] Title``.
    """
    root, parts = Path(pattern.anchor), pattern.parts[1 if pattern.anchor else 0 :]
    for index, part in enumerate(parts):
        if _MAGIC & set(part) and not (root / part).exists():
            return root, parts[index:]
        root /= part
    return root, ()


def _matching(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """What lies below a folder and fits the parts of a pattern, each once, in order."""
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        found = dict.fromkeys(file for below in _folders(folder) for file in _matching(below, rest or ("*",)))
        yield from found
    elif (folder / part).exists():
        yield from _matching(folder / part, rest)
    elif folder.is_dir():
        for entry in sorted(folder.iterdir()):
            if fnmatch.fnmatch(entry.name, part) and (not rest or entry.is_dir()):
                yield from _matching(entry, rest)


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and all below it; links to folders are not followed, they may lead in a circle."""
    for here, subfolders, _ in os.walk(folder):
        subfolders.sort()
        yield Path(here)


def _walk(source: Path, *, avoid: Path, recursive: bool) -> Iterator[Path]:
    """Files of a folder, without those below ``avoid``: the results of an earlier run."""
    for folder, subfolders, files in os.walk(source):
        here = Path(folder)
        subfolders[:] = sorted(name for name in subfolders if (here / name).resolve() != avoid) if recursive else []
        yield from (here / name for name in sorted(files))
