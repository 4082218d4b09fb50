"""A wheel of this very copy of the project, whether it is a checkout or installed itself."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterable
from importlib import metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path, PurePosixPath

import paragon_arch
from paragon_arch.errors import OutputError

from .archive import write_wheel

DISTRIBUTION = "comfyui-paragonsr"
BACK_END = Path("build_backend", "paragonsr_build.py")
"""Of a checkout."""
WRITTEN_BY_INSTALLERS = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
"""Files of an installed .dist-info folder that no wheel has."""


def library_folder() -> Path:
    """The folder that holds ``paragon_arch``: a checkout's root, or site-packages."""
    return Path(str(paragon_arch.__file__)).resolve().parent.parent


def make_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`; nothing is left anywhere else, and nothing is needed but Python.

    Raises:
        OutputError: files of this copy are missing or cannot be read.
    """
    source = library_folder()
    if (source / "pyproject.toml").is_file() and (source / BACK_END).is_file():
        return _build(source, folder)
    return _repack(folder)


def _build(source: Path, folder: Path) -> Path:
    """Write the wheel of a checkout, by the back end that pip would call."""
    spec = spec_from_file_location("paragonsr_build", source / BACK_END)
    assert spec is not None
    assert spec.loader is not None
    back_end = module_from_spec(spec)
    try:
        spec.loader.exec_module(back_end)
        return back_end.build(source, folder)
    except (OSError, KeyError, RuntimeError) as error:
        raise OutputError(f"{source}: no wheel could be made of it ({error}); get a complete copy") from error


def _repack(folder: Path) -> Path:
    """Put the files of an installed copy back into a wheel."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise OutputError(
            f"{library_folder()}: neither a checkout nor an installed package; install {DISTRIBUTION} again"
        ) from error
    contents: dict[str, bytes] = {}
    for file in distribution.files or ():
        if _belongs_in_a_wheel(file):
            try:
                contents[file.as_posix()] = Path(str(distribution.locate_file(file))).read_bytes()
            except OSError as error:
                raise OutputError(f"{file}: missing from the installed package; install it again") from error
    wheel = folder / f"{DISTRIBUTION.replace('-', '_')}-{distribution.version}-py3-none-any.whl"
    write_wheel(wheel, contents)
    return wheel


def _belongs_in_a_wheel(file: PurePosixPath) -> bool:
    """Not what installing and running added: scripts, byte code, the installer's notes."""
    parts = file.parts
    noted = parts[0].endswith(".dist-info") and file.name in WRITTEN_BY_INSTALLERS
    return ".." not in parts and not file.is_absolute() and file.suffix != ".pyc" and not noted


def fingerprint(record: Iterable[str]) -> dict[str, str]:
    """Names and hashes of a RECORD file, without those that differ between a wheel and its installed form."""
    rows = {row[0]: row[1] for row in csv.reader(record) if len(row) > 1}
    return {name: digest for name, digest in rows.items() if _belongs_in_a_wheel(PurePosixPath(name))}


def wheel_record(wheel: Path) -> list[str]:
    """Lines of the RECORD inside a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/RECORD"))
        return archive.read(name).decode().splitlines()
