"""Writing wheels. The build back end uses it too, so it needs nothing but Python (PEP 427 has the format)."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

START_UP_FILES = {
    "paragonsr.pth": b"import paragon_chainner.startup; paragon_chainner.startup.install()\n",
    "paragonsr.start": b"paragon_chainner.startup:install\n",  # PEP 829: from Python 3.15 on, instead of the line above
}
"""Files at the root of site-packages that every start of Python reads."""
DATE = (2020, 1, 1, 0, 0, 0)
"""Of every file in a wheel: the same content gives the same archive."""


def write_wheel(wheel: Path, contents: Mapping[str, bytes]) -> None:
    """Write an archive of `contents` with the RECORD that they need; one name must be below a .dist-info folder."""
    folder = next(name.split("/")[0] for name in contents if ".dist-info/" in name)
    record = f"{folder}/RECORD"
    rows = [*((name, f"sha256={_digest(data)}", str(len(data))) for name, data in contents.items()), (record, "", "")]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in {**contents, record: text.getvalue().encode()}.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, data)


def add_files(wheel: Path, files: Mapping[str, bytes]) -> None:
    """Put files into the root of a wheel; it is replaced whole."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith((".dist-info/RECORD", "/"))]
        contents = {name: archive.read(name) for name in names}
    changed = wheel.with_suffix(".tmp")
    write_wheel(changed, {**files, **contents})
    changed.replace(wheel)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
