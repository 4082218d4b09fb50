"""The build back end: setuptools, plus two start-up files at the root of the wheel.

setuptools has no way to put a file beside the packages that works for wheels and editable installs alike, so the
finished wheel is opened once more. Being listed in its RECORD, both files go when pip uninstalls the package.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

START_UP_FILES = {
    "paragonsr.pth": "import paragon_chainner.startup; paragon_chainner.startup.install()\n",
    "paragonsr.start": "paragon_chainner.startup:install\n",  # PEP 829: from Python 3.15 on, instead of the line above
}


def build_wheel(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """PEP 517: build a wheel into `wheel_directory` and return its file name."""
    name = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    add_files(Path(wheel_directory, name), START_UP_FILES)
    return name


def build_editable(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """PEP 660: the same for an editable install."""
    name = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    add_files(Path(wheel_directory, name), START_UP_FILES)
    return name


def add_files(wheel: Path, files: Mapping[str, str]) -> None:
    """Put text files into the root of a wheel and into its RECORD; the wheel is replaced whole."""
    changed = wheel.with_suffix(".tmp")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        infos = old.infolist()
        record = next(info for info in infos if info.filename.endswith(".dist-info/RECORD"))
        for info in infos:
            if info is not record:
                new.writestr(info, old.read(info))
        rows = old.read(record).decode().splitlines(keepends=True)
        for name, text in files.items():
            new.writestr(_entry_like(record, name), text)
            rows.insert(0, _record_row(name, text.encode()))
        new.writestr(record, "".join(rows))
    changed.replace(wheel)


def _entry_like(model: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    """An archive entry with the date, permissions and compression of another."""
    entry = zipfile.ZipInfo(name, model.date_time)
    entry.external_attr, entry.compress_type = model.external_attr, model.compress_type
    return entry


def _record_row(name: str, content: bytes) -> str:
    """A line of RECORD (the form is that of the wheel specification)."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    row = io.StringIO(newline="")
    csv.writer(row, lineterminator="\n").writerow([name, f"sha256={digest}", len(content)])
    return row.getvalue()
