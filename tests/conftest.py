"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout under test."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference data that is not part of the repository: golden outputs and original checkpoints.

    It lies beside the checkout, or where PARAGONSR_SHARED says. A path that was given and is wrong is an error; data
    that is simply not there skips the test.
    """
    given = os.environ.get("PARAGONSR_SHARED")
    folder = Path(given) if given else ROOT.parent / "shared"
    if folder.is_dir():
        return folder
    if given:
        raise FileNotFoundError(f"PARAGONSR_SHARED={given} is not a folder")
    pytest.skip("no reference data: set PARAGONSR_SHARED to the folder that has golden/ and checkpoints/")


@pytest.fixture(scope="session")
def copy_checkout() -> Callable[[Path], Path]:
    """A function that copies what git would ship (tracked and new files, none that it ignores) to a new folder."""

    def copy(target: Path) -> Path:
        listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, check=True, capture_output=True, text=True, encoding="utf-8").stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():  # a file that was deleted but not committed is still listed
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target / name)
        return target

    return copy


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, copy_checkout: Callable[[Path], Path]) -> Path:
    """A copy of the checkout to build from, because building leaves folders behind."""
    folder = copy_checkout(tmp_path_factory.mktemp("source") / "comfyui-paragonsr")
    (folder / "models").mkdir(exist_ok=True)  # git has no empty folders, setuptools insists
    return folder


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with what is installed here."""
    target = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, cwd=target)
    return next(target.glob("*.whl"))
