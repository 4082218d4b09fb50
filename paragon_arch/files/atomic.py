"""Writing a file so that it appears under its final name whole or not at all.

Used for checkpoints, pictures and exported models alike.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import stat
import sys
import time
from collections.abc import Generator
from pathlib import Path

from ..errors import OutputError, OutputExistsError
from .patience import is_held, patiently

_CURES = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EACCES: "no permission to write there; choose another folder or change its permissions",
    errno.EPERM: "no permission to write there; choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EISDIR: "it is a folder; give a file name",
}
_HELD = "another program may have the file open, or it is read-only: close it there, or choose another name"
_UNFLUSHED = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR}
"""What file systems, sandboxes and folders without read permission say to flushing a folder; the file is whole."""
_SUFFIX_LIMIT = 16
_PREFIX = ".tmp-"
_NAMESPACE = Path("/proc/self/ns/pid")
_LEFTOVER = re.compile(r"\.tmp-([0-9a-f]{8})-([0-9]{1,10})-[0-9a-f]{12}(\.\w*)?")
_cleaned = set[str]()
"""Folders in which this process has looked for leftovers."""
_ABANDONED = 24 * 3600
"""Seconds without a change after which another machine's temporary file is taken for abandoned."""


@contextlib.contextmanager
def atomic_path(final: str | os.PathLike[str], *, overwrite: bool = False) -> Generator[Path, None, None]:
    """Yield a temporary sibling path; when the block ends well, what was written there becomes ``final``.

    The temporary file has the suffix of ``final``, so that writers that choose a format by suffix work. It is
    flushed to the disk, then renamed, then its folder is flushed. Whatever goes wrong, it is removed and ``final``
    is as it was. What a process that was killed could not remove goes when another one first writes to that folder.

    Without ``overwrite`` the last step is `os.link`, which fails if ``final`` appeared in the meantime: two
    processes cannot both win. File systems without hard links reserve the name with ``O_EXCL`` first.

    Raises:
        OutputExistsError: ``final`` exists and ``overwrite`` is false; checked before the block runs, and again
            when the name is taken.
        OutputError: the folder does not exist, ``final`` is a folder, the disk is full, permission is missing, or
            the block wrote nothing. An `OSError` of the block itself becomes one only if it concerns the temporary
            file or names no file.
    """
    final = Path(final)
    _check_target(final, overwrite)
    _clean_once(final.parent)
    suffix = final.suffix if len(final.suffix) <= _SUFFIX_LIMIT else ""
    temp = final.parent / f"{_PREFIX}{_host()}-{os.getpid()}-{secrets.token_hex(6)}{suffix}"
    try:
        try:
            yield temp
        except OSError as error:
            if error.filename is None or str(error.filename).removeprefix("file:") == str(temp):  # FFmpeg's prefix
                raise _output_error(final, error) from error
            raise
        _publish(temp, final, overwrite)
    finally:
        with contextlib.suppress(OSError):
            patiently(lambda: temp.unlink(missing_ok=True))


@contextlib.contextmanager
def output_errors(path: Path) -> Generator[None, None, None]:
    """Turn an `OSError` of the block into an `OutputError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise _output_error(path, error) from error


def make_folder(folder: Path) -> None:
    """Create a folder for results, and those above it.

    Raises:
        OutputError: it cannot be created, or a file has its name.
    """
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _clean_once(folder: Path) -> None:
    place = os.path.abspath(folder)  # noqa: PTH100  (links stay as they are)
    if place not in _cleaned:
        _cleaned.add(place)
        remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of `atomic_path` whose process was killed; those of living ones are left alone.

    A process of this machine is asked whether it lives; for the files of another machine or container, or where the
    system cannot tell (Windows, macOS), a day without a change decides. A folder that does not exist has none.
    """
    with contextlib.suppress(OSError):
        for path in folder.glob(_PREFIX + "*"):
            match = leftover(path.name)
            if match is not None and _is_abandoned(path, match[1], int(match[2])):
                path.unlink(missing_ok=True)


def leftover(name: str) -> re.Match[str] | None:
    """Whether a name is one of `atomic_path`'s temporary files: its machine, process and suffix."""
    return _LEFTOVER.fullmatch(name)


def _is_abandoned(path: Path, host: str, process: int) -> bool:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return False
    if host == _host() and sys.platform == "linux":
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False
    return time.time() - status.st_mtime > _ABANDONED


@functools.cache
def _host() -> str:
    """A short mark of what numbers the processes: two containers may have one name and one folder, but not this."""
    marks = [platform.node()]
    if sys.platform == "linux":
        try:
            marks += [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"), str(_NAMESPACE.readlink())]
        except (OSError, ValueError):
            marks.append(secrets.token_hex())  # nobody knows whether another's process lives
    return hashlib.sha256("\n".join(marks).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _check_target(final: Path, overwrite: bool) -> None:
    try:
        if final.is_dir():
            raise OutputError(f"{final}: cannot be written: it is a folder; give a file name")
        if not final.parent.is_dir():
            raise OutputError(f"{final}: cannot be written: there is no folder {final.parent}; create it first")
        if not overwrite and os.path.lexists(final):
            raise _exists(final)
    except (OSError, ValueError) as error:
        raise _output_error(final, error) from error


def _publish(temp: Path, final: Path, overwrite: bool) -> None:
    """Flush ``temp`` and give it its final name."""
    try:
        patiently(lambda: _flush_file(temp))
        if overwrite:
            _keep_mode(temp, final)
            patiently(lambda: temp.replace(final))
        else:
            _claim(temp, final)
        _flush_folder(final.parent)
    except FileExistsError as error:
        raise _exists(final) from error
    except OSError as error:
        raise _output_error(final, error) from error


def _keep_mode(temp: Path, final: Path) -> None:
    """Give the new file the permissions of the one that it replaces: a private one stays private."""
    with contextlib.suppress(OSError):
        status = final.lstat()
        if stat.S_ISREG(status.st_mode):
            temp.chmod(stat.S_IMODE(status.st_mode))


def _claim(temp: Path, final: Path) -> None:
    """Rename without overwriting; `FileExistsError` if the name is taken."""
    try:
        os.link(temp, final)
    except FileExistsError:
        raise
    except (OSError, AttributeError, NotImplementedError):
        _reserve_and_replace(temp, final)


def _reserve_and_replace(temp: Path, final: Path) -> None:
    handle = os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    reserved = os.fstat(handle)
    os.close(handle)
    try:
        patiently(lambda: temp.replace(final))
    except BaseException:
        with contextlib.suppress(OSError):
            found = final.lstat()
            if os.path.samestat(found, reserved) and not found.st_size:  # else another process has put its file there
                patiently(final.unlink)
        raise


def _flush_file(path: Path) -> None:
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the rename survive a power cut, where the system lets us flush a folder (Windows does not)."""
    if os.name == "nt":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _UNFLUSHED:
            raise


def _exists(final: Path) -> OutputExistsError:
    return OutputExistsError(f"{final}: exists already; choose another name or ask for overwriting")


def _output_error(final: Path, error: OSError | ValueError) -> OutputError:
    number = error.errno if isinstance(error, OSError) else None
    cure = _HELD if is_held(error) else _CURES.get(number or 0, "check the folder and the name")
    return OutputError(f"{final}: cannot be written ({error}): {cure}")
