"""Way 4: an installed package, as a wheel and editable."""

from __future__ import annotations

import email
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import paragon_arch

REGISTER = "import paragon_arch; paragon_arch.register(); paragon_arch.register(); print(paragon_arch.__file__)"

PLACES = {
    "paragon_arch": "paragon_arch",
    "paragon_chainner": "paragon_chainner",
    "paragon_engine": "paragon_engine",
    "deploy": "paragonsr",
}
"""Folders of the checkout, and the packages that they become."""


def run(command: list[str], folder: Path, **variables: str) -> str:
    """Standard output of a command that must succeed, run in `folder` with no PYTHONPATH but a given one."""
    environment = {"PATH": "", "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder), **variables}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has nothing but our installed wheel."""
    target = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-index", "--target", str(target)]
    run([sys.executable, "-m", "pip", "install", *options, str(wheel)], target)
    return target


def test_the_wheel_takes_only_names_of_its_own(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" not in name}
    assert top == {*PLACES.values(), "paragonsr.pth", "paragonsr.start"}


def test_the_wheel_has_every_module_and_shipped_model(wheel: Path, source: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    expected = {
        f"{name}/{file.relative_to(source / folder).as_posix()}"
        for folder, name in PLACES.items()
        for file in (source / folder).rglob("*.py")
    }
    expected |= {f"paragon_engine/models/{file.name}" for file in (source / "models").glob("*.safetensors")}
    assert expected <= packed


def test_one_version_everywhere(root: Path) -> None:
    entry = (root / "__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{paragon_arch.__version__}"' in entry
    assert f'\nversion = "{paragon_arch.__version__}"\n' in (root / "pyproject.toml").read_text(encoding="utf-8")


def test_the_wheel_requires_nothing_of_an_environment(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Version"] == paragon_arch.__version__
    assert [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line] == []


def test_the_installed_command_and_library_work_away_from_the_checkout(site: Path, tmp_path: Path) -> None:
    usage = run([sys.executable, "-m", "paragonsr", "--help"], tmp_path, PYTHONPATH=str(site))
    assert "upscale" in usage
    where = run([sys.executable, "-c", REGISTER], tmp_path, PYTHONPATH=str(site))
    assert Path(where.strip()).is_relative_to(site)


def test_an_editable_install_imports_the_checkout(source: Path, tmp_path: Path) -> None:
    """Built by the back end's own hook and put into a folder of its own: pip would touch the environment under test."""
    hook = "import sys; from paragonsr_build import build_editable; build_editable(sys.argv[1])"
    run([sys.executable, "-c", hook, str(tmp_path)], source, PYTHONPATH=str(source / "build_backend"))
    site = tmp_path / "site"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        archive.extractall(site)
    # -S keeps out start-up files of the environment under test, which may have an editable install of its own.
    start = f"import sys, site; site.addsitedir({str(site)!r}); sys.path.append({sysconfig.get_path('purelib')!r}); "
    module = "import runpy; sys.argv = ['paragonsr', '--help']; runpy.run_module('paragonsr', run_name='__main__')"
    where = run([sys.executable, "-S", "-c", start + REGISTER], tmp_path)
    assert Path(where.strip()).is_relative_to(source)
    assert "upscale" in run([sys.executable, "-S", "-c", start + module], tmp_path)
