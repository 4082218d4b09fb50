"""Independent programs that judge our files, where they are installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


def program(*names: str) -> str:
    """The first of these programs that is installed; the test is skipped where there is none."""
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"{' or '.join(names)} is not installed")


def output(*command: Any) -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    text = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, (text, done.stderr.decode("utf-8", "replace"))
    return text


def exiftool(path: Path, *options: str) -> dict[str, Any]:
    """Tags by group and name, as ExifTool reads them."""
    tool = program("exiftool")
    return json.loads(output(tool, "-json", "-G1", "-charset", "filename=utf8", *options, path))[0]


def magick(path: Path, wanted: str) -> str:
    """A property of a picture (``%[fx:mean]``), as ImageMagick sees it."""
    return output(program("identify-im6.q16", "identify-im6", "identify"), "-format", wanted, path).strip()


def probe(path: Path, *options: str) -> Any:
    """What ffprobe says, as JSON."""
    return json.loads(output(program("ffprobe"), "-v", "error", "-of", "json", *options, path))
