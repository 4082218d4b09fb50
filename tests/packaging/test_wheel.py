"""The wheel that our own build back end writes: as setuptools would, by every Python, from nothing but the checkout."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from paragon_chainner.archive import START_UP_FILES

BUILD = """
import sys
from pathlib import Path
sys.path[:0] = [{source!r}, {source!r} + "/build_backend"]
import paragonsr_build
print(paragonsr_build.build(Path({source!r}), Path({folder!r})))
assert "setuptools" not in sys.modules
"""
SETUPTOOLS = "import sys, setuptools.build_meta as s; print(s.build_wheel(sys.argv[1]))"


def read(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def metadata(contents: dict[str, bytes]) -> Message:
    return email.message_from_bytes(next(data for name, data in contents.items() if name.endswith("/METADATA")))


def facts(message: Message) -> dict[str, list[str]]:
    """Fields of METADATA, whatever the order of the fields and of extras, and the quotes."""
    fields: dict[str, list[str]] = {}
    for key, value in message.items():
        text = re.sub(r"\[(.+)\]", lambda found: f"[{','.join(sorted(found[1].split(',')))}]", value)
        text = re.sub(r"(?<=\w)([<>=!~][^;(]+,[^;(]+)", lambda found: ",".join(sorted(found[1].split(","))), text)
        fields.setdefault(key, []).append(text.replace("'", '"').replace(" ", ""))
    return {key: sorted(values) for key, values in fields.items()}


def test_it_is_what_setuptools_would_write(wheel: Path, source: Path, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77.0.3")
    done = subprocess.run(
        [sys.executable, "-c", SETUPTOOLS, str(tmp_path)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Deprecat" not in done.stderr
    ours, theirs = read(wheel), read(next(tmp_path.glob("*.whl")))
    notes = ("/RECORD", "/WHEEL", "/METADATA", "/top_level.txt")
    assert {name: data for name, data in ours.items() if not name.endswith(notes) and name not in START_UP_FILES} == {
        name: data for name, data in theirs.items() if not name.endswith(notes)
    }
    found, expected = facts(metadata(ours)), facts(metadata(theirs))
    expected.pop("Dynamic", None)
    assert found == expected
    assert metadata(ours).get_payload() == metadata(theirs).get_payload()


def stock_pythons() -> list[Path]:
    """Interpreters of other versions on this machine, without what runs the tests."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    folders += sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions").glob("*/bin"))
    found: dict[str, Path] = {}
    for folder in folders:
        for minor in range(10, 16):
            program = folder / f"python3.{minor}"
            if program.is_file() and "shims" not in program.parts:
                found.setdefault(program.name, program)
    return [found[name] for name in sorted(found)]


@pytest.mark.parametrize("python", stock_pythons(), ids=lambda path: path.name)
def test_every_python_writes_the_same_bytes(python: Path, wheel: Path, source: Path, tmp_path: Path) -> None:
    code = BUILD.format(source=str(source), folder=str(tmp_path))
    done = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read(Path(done.stdout.strip())) == read(wheel)


def test_building_leaves_the_checkout_as_it_was(source: Path, tmp_path: Path) -> None:
    before = sorted(path for path in source.rglob("*") if "__pycache__" not in path.parts)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, cwd=tmp_path)
    assert sorted(path for path in source.rglob("*") if "__pycache__" not in path.parts) == before
