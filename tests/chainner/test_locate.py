"""Finding chaiNNer on trees of files that look like its three systems."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from paragon_arch.errors import InvalidOptionError
from paragon_chainner.locate import Installation, System, backend_below, find, version_of


def add_backend(folder: Path) -> Path:
    """A back end's source, as far as it is recognised by."""
    (folder / "packages" / "chaiNNer_pytorch").mkdir(parents=True)
    (folder / "server.py").touch()
    return folder


def add_program(file: Path) -> Path:
    """An executable file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o755)
    return file


class Tree:
    """A machine: `system`, and where its files would be."""

    def __init__(self, root: Path, platform: str) -> None:
        self.home = root / "home" / "me"
        self.home.mkdir(parents=True)
        self.variables = {"PATH": str(root / "bin")}
        if platform == "win32":
            self.variables["APPDATA"] = str(self.home / "AppData" / "Roaming")
            self.variables["LOCALAPPDATA"] = str(self.home / "AppData" / "Local")
        self.versions: dict[Path, tuple[int, ...] | None] = {}
        self.system = System(platform, self.home, root, self.variables, lambda path: self.versions.get(path, (3, 11)))
        self.root = root

    def only(self, app: Path | None = None) -> Installation:
        """The one app that is found."""
        (found,) = find(self.system, app)
        return found


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Tree]:
    return lambda platform: Tree(tmp_path, platform)


@pytest.mark.parametrize(
    ("platform", "python", "backend"),
    [
        (
            "win32",
            "home/me/AppData/Roaming/chaiNNer/python/python/python.exe",
            "home/me/AppData/Local/chaiNNer/app-0.25.1/resources/src",
        ),
        (
            "darwin",
            "home/me/Library/Application Support/chaiNNer/python/python/bin/python3.11",
            "Applications/chaiNNer.app/Contents/Resources/src",
        ),
        ("linux", "home/me/.config/chaiNNer/python/python/bin/python3.11", "usr/lib/chainner/resources/src"),
    ],
)
def test_an_installed_app(tree: Callable[[str], Tree], platform: str, python: str, backend: str) -> None:
    here = tree(platform)
    add_program(here.root / python)
    add_backend(here.root / backend)
    app = here.only()
    assert (app.kind, app.python, app.backend) == ("installed", here.root / python, here.root / backend)
    assert not app.system_python


def test_an_application_folder_of_ones_own_on_a_mac(tree: Callable[[str], Tree]) -> None:
    here = tree("darwin")
    backend = add_backend(here.home / "Applications/chaiNNer.app/Contents/Resources/src")
    assert here.only().backend == backend


def test_the_newest_of_several_versions_on_windows(tree: Callable[[str], Tree]) -> None:
    here = tree("win32")
    for version in ("0.9.0", "0.25.1", "0.24.0"):
        add_backend(here.home / f"AppData/Local/chaiNNer/app-{version}/resources/src")
    backend = here.only().backend
    assert backend is not None
    assert "app-0.25.1" in backend.parts


def test_no_app(tree: Callable[[str], Tree]) -> None:
    assert find(tree("linux").system) == []


def test_before_the_first_start_there_is_no_python(tree: Callable[[str], Tree]) -> None:
    here = tree("linux")
    add_backend(here.root / "usr/lib/chainner/resources/src")
    assert here.only().python is None


def test_a_config_folder_of_ones_own_on_linux(tree: Callable[[str], Tree]) -> None:
    here = tree("linux")
    here.variables["XDG_CONFIG_HOME"] = str(here.root / "config")
    python = add_program(here.root / "config/chaiNNer/python/python/bin/python3.11")
    assert here.only().python == python


@pytest.mark.parametrize(("platform", "python"), [("win32", "python.exe"), ("linux", "bin/python3.11")])
def test_a_portable_app_keeps_all_in_its_folder(tree: Callable[[str], Tree], platform: str, python: str) -> None:
    here = tree(platform)
    folder = here.root / "chaiNNer portable"
    backend = add_backend(folder / "resources/src")
    add_program(folder / "python/python" / python)
    (folder / "portable").touch()
    app = here.only(folder)
    assert app == Installation("portable", folder, folder / "python/python" / python, False, backend)


def test_a_source_checkout_uses_the_python_of_the_data_folder(tree: Callable[[str], Tree]) -> None:
    here = tree("linux")
    python = add_program(here.home / ".config/chaiNNer/python/python/bin/python3.11")
    backend = add_backend(here.root / "git/chaiNNer/backend/src")
    app = here.only(here.root / "git/chaiNNer")
    assert app == Installation("source checkout", here.root / "git/chaiNNer", python, False, backend)


def test_a_folder_that_nobody_may_look_into(tree: Callable[[str], Tree]) -> None:
    machine = tree("linux")
    folder = machine.home / ".config" / "chaiNNer"
    add_program(folder / "python/python/bin/python3.11")
    folder.chmod(0)
    if os.access(folder, os.R_OK):
        pytest.skip("this user may look everywhere")
    try:
        with pytest.raises(InvalidOptionError, match="no permission to look there"):
            machine.only()
    finally:
        folder.chmod(0o755)


def test_a_folder_without_the_app_is_refused(tree: Callable[[str], Tree]) -> None:
    here = tree("linux")
    with pytest.raises(InvalidOptionError, match="folder that holds the program"):
        find(here.system, here.home)


class TestSystemPython:
    """The setting "use system Python"."""

    def settle(self, here: Tree, location: object) -> None:
        """Write the app's settings."""
        data = here.home / ".config/chaiNNer"
        add_program(data / "python/python/bin/python3.11")
        settings = {"useSystemPython": True, "systemPythonLocation": location}
        (data / "settings.json").write_text(json.dumps(settings), encoding="utf-8")

    def test_the_one_that_is_named(self, tree: Callable[[str], Tree]) -> None:
        here = tree("linux")
        python = add_program(here.root / "venv/bin/python")
        self.settle(here, str(python))
        app = here.only()
        assert (app.python, app.system_python) == (python, True)

    def test_else_the_first_of_the_path(self, tree: Callable[[str], Tree]) -> None:
        here = tree("linux")
        python = add_program(here.root / "bin/python3")
        add_program(here.root / "bin/python")
        self.settle(here, "")
        assert here.only().python == python

    @pytest.mark.parametrize("version", [(3, 9), (2, 7), None])
    def test_one_that_chainner_passes_over(self, tree: Callable[[str], Tree], version: tuple[int, ...] | None) -> None:
        """It wants Python 3.10, and a program that answers."""
        here = tree("linux")
        named, old = add_program(here.root / "venv/bin/python"), add_program(here.root / "bin/python3")
        here.versions = {named: version, old: version}
        self.settle(here, str(named))
        assert here.only().system_python is False
        new = add_program(here.root / "bin/python")
        assert here.only().python == new

    def test_else_the_apps_own(self, tree: Callable[[str], Tree]) -> None:
        here = tree("linux")
        self.settle(here, str(here.root / "gone/python"))
        app = here.only()
        assert (app.python, app.system_python) == (here.home / ".config/chaiNNer/python/python/bin/python3.11", False)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"useSystemPython": "yes"}', "\0"])
    def test_settings_that_cannot_be_read_mean_the_apps_own(self, tree: Callable[[str], Tree], text: str) -> None:
        here = tree("linux")
        self.settle(here, "")
        add_program(here.root / "bin/python3")
        (here.home / ".config/chaiNNer/settings.json").write_text(text, encoding="utf-8")
        assert not here.only().system_python


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("python3", "python3.11"), "python3.11"),
        (("python3.9", "python3.14", "python3.14-config"), "python3.14"),
        (("python", "python3"), "python3"),
    ],
)
def test_the_apps_python_of_whatever_version(tree: Callable[[str], Tree], names: tuple[str, ...], chosen: str) -> None:
    here = tree("linux")
    folder = here.home / ".config/chaiNNer/python/python/bin"
    for name in names:
        add_program(folder / name)
    assert here.only().python == folder / chosen


def test_the_version_of_a_program(tmp_path: Path) -> None:
    assert version_of(Path(sys.executable)) == sys.version_info[:2]
    assert version_of(add_program(tmp_path / "python3")) is None
    assert version_of(tmp_path / "missing") is None


@pytest.mark.parametrize("missing", ["server.py", "packages"])
def test_half_a_backend_is_none(tmp_path: Path, missing: str) -> None:
    backend = add_backend(tmp_path / "resources/src")
    (backend / missing).rename(tmp_path / "elsewhere")
    assert backend_below(tmp_path) is None
