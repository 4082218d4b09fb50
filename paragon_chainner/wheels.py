"""A wheel of this very copy of the project, whether it is a checkout or installed itself."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import paragon_arch
from paragon_arch.errors import OutputError

DISTRIBUTION = "comfyui-paragonsr"
SOURCES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "build_backend",
    "paragon_arch",
    "paragon_chainner",
    "paragon_engine",
    "deploy",
    "models",
)
"""What building needs of a checkout."""
WRITTEN_BY_INSTALLERS = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
"""Files of an installed .dist-info folder that no wheel has."""


def library_folder() -> Path:
    """The folder that holds ``paragon_arch``: a checkout's root, or site-packages."""
    return Path(str(paragon_arch.__file__)).resolve().parent.parent


def make_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`; nothing is left anywhere else, and nothing is downloaded if setuptools is here.

    Raises:
        OutputError: building failed, or files of this copy are missing.
    """
    source = library_folder()
    if (source / "pyproject.toml").is_file() and (source / "build_backend").is_dir():
        return _build(source, folder)
    return _repack(folder)


def _build(source: Path, folder: Path) -> Path:
    """Build a checkout, from a copy: setuptools leaves folders behind and trusts those that it finds."""
    copy = folder / "source"
    copy.mkdir()
    for name in SOURCES:
        item = source / name
        if item.is_dir():
            shutil.copytree(item, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif item.is_file():
            shutil.copy2(item, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), str(copy)]
    if find_spec("setuptools"):
        command += ["--no-build-isolation", "--no-index"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603 - pip
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise OutputError(
            f"{source}: no wheel could be built ({' '.join(last)}): run {sys.executable} -m pip install "
            "'setuptools>=68' wheel, then this again"
        )
    return wheel


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


def write_wheel(wheel: Path, contents: Mapping[str, bytes]) -> None:
    """Write an archive of `contents` with the RECORD that they need; one name must be below a .dist-info folder."""
    folder = next(name.split("/")[0] for name in contents if ".dist-info/" in name)
    record = f"{folder}/RECORD"
    rows = [*((name, f"sha256={_digest(data)}", str(len(data))) for name, data in contents.items()), (record, "", "")]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
        archive.writestr(record, text.getvalue())


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def fingerprint(record: Iterable[str]) -> dict[str, str]:
    """Names and hashes of a RECORD file, without those that differ between a wheel and its installed form."""
    rows = {row[0]: row[1] for row in csv.reader(record) if len(row) > 1}
    return {name: digest for name, digest in rows.items() if _belongs_in_a_wheel(PurePosixPath(name))}


def wheel_record(wheel: Path) -> list[str]:
    """Lines of the RECORD inside a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/RECORD"))
        return archive.read(name).decode().splitlines()
