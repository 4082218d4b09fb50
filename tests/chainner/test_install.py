"""Installing into, and out of, a real virtual environment that plays the app's Python, and a back end's folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import paragon_arch
from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_arch.errors import InvalidOptionError, OutputError
from paragon_chainner import drop_in, wheels
from paragon_chainner.install import examine, install, obstacle, uninstall
from paragon_chainner.locate import Installation
from tests.chainner.hook_environment import SPANDREL, SUPPORT, Environment

SHIM = "packages/chaiNNer_pytorch/paragonsr_drop_in.py"
NODES = """
def add_nodes():
    import spandrel
    if "nodes" not in spandrel.MAIN_REGISTRY.ids:
        spandrel.MAIN_REGISTRY.add("nodes")
"""
"""As much of paragon_chainner.nodes."""
IMPORT_ALL = """
import importlib, pathlib, sys
sys.path.insert(0, {backend!r})
for file in sorted(pathlib.Path({backend!r}, "packages", "chaiNNer_pytorch").glob("*.py")):
    if not file.name.startswith("_"):
        importlib.import_module("packages.chaiNNer_pytorch." + file.stem)
import spandrel
print(spandrel.MAIN_REGISTRY.ids)
"""
"""What chaiNNer does with the modules of a package."""


@pytest.fixture
def app(tmp_path: Path) -> Installation:
    """A portable app: a back end, and a Python with pip."""
    backend = tmp_path / "app" / "resources" / "src"
    (backend / "packages" / "chaiNNer_pytorch").mkdir(parents=True)
    (backend / "packages" / "chaiNNer_pytorch" / "__init__.py").touch()
    (backend / "server.py").touch()
    (tmp_path / "app" / "portable").touch()
    environment = Environment(tmp_path / "app" / "python" / "python")
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip").symlink_to(Path(sysconfig.get_path("purelib"), "pip"), target_is_directory=True)
    environment.write("pip.pth", f"{tmp_path / 'pip'}\n")
    return Installation("portable", tmp_path / "app", environment.python, False, backend)


@pytest.fixture
def environment(app: Installation, tmp_path: Path) -> Environment:
    """The same Python, to run code in."""
    assert app.python is not None
    return Environment(tmp_path / "app" / "python" / "python")


def contents(folder: Path) -> dict[str, str]:
    """Every file and folder below `folder` with a hash of its bytes; symbolic links are not followed."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def test_the_wheel_in_again_and_out(
    app: Installation, environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command, on the portable app's folder."""

    def run(*arguments: str) -> str:
        assert main(["chainner", *arguments, "--app", str(app.folder)]) == ExitCode.OK
        return capsys.readouterr().out

    before = contents(tmp_path)
    assert "would install" in run("install", "--dry-run")
    assert contents(tmp_path) == before, "a dry run changed something"

    assert "installed" in run("install")
    installed = contents(tmp_path)
    assert environment.output("import sys; print(type(sys.meta_path[0]).__module__)") == "paragon_chainner.startup"
    assert examine(environment.python).installed == paragon_arch.__version__

    assert "is there already" in run("install")
    assert paragon_arch.__version__ in run("status")
    assert {name: value for name, value in contents(tmp_path).items() if not name.endswith(".pyc")} == {
        name: value for name, value in installed.items() if not name.endswith(".pyc")
    }

    assert "would remove" in run("uninstall", "--dry-run")
    assert examine(environment.python).installed
    assert "removed" in run("uninstall")
    assert contents(tmp_path) == before
    assert "nothing of ours" in run("uninstall")


def test_an_older_wheel_is_replaced(app: Installation, environment: Environment) -> None:
    install(app)
    module = environment.packages / "paragon_chainner" / "startup.py"
    record = next(environment.packages.glob("*.dist-info/RECORD"))
    current = module.read_bytes()
    module.write_text("def install(): ...\n", encoding="utf-8")
    lines = [line for line in record.read_text("utf-8").splitlines() if not line.startswith("paragon_chainner/startup")]
    record.write_text("\n".join([*lines, "paragon_chainner/startup.py,sha256=old,1"]) + "\n", encoding="utf-8")
    assert "replaced" in install(app).text
    assert module.read_bytes() == current


def test_the_drop_in_in_again_and_out(app: Installation, environment: Environment) -> None:
    assert app.backend is not None
    before = contents(app.backend)
    assert install(app, method="drop-in", dry_run=True).changed
    assert contents(app.backend) == before, "a dry run changed something"

    assert install(app, method="drop-in").changed
    assert not install(app, method="drop-in").changed
    assert set(contents(app.backend)) - set(before) == {SHIM}

    environment.run(IMPORT_ALL.format(backend=str(app.backend)))  # leaves byte code, as the app would
    for folder in app.backend.glob("packages/**/__pycache__"):
        for file in folder.glob("__init__.*.pyc"):
            file.unlink()
    assert uninstall(app)[0].changed
    for folder in app.backend.glob("packages/**/__pycache__"):
        folder.rmdir()
    assert contents(app.backend) == before


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the folder of our libraries."""
    folder = tmp_path / "library ü"
    (folder / "paragon_arch").mkdir(parents=True)
    (folder / "paragon_arch" / "spandrel_support.py").write_text(SUPPORT)
    (folder / "paragon_arch" / "__init__.py").write_text("from .spandrel_support import register as register\n")
    for name in ("paragon_engine", "paragon_chainner"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    (folder / "paragon_chainner" / "nodes.py").write_text(NODES)
    (folder / "nodes.py").write_text("raise AssertionError('not meant to be importable')\n")
    monkeypatch.setattr(drop_in, "library_folder", lambda: folder)
    return folder


def test_the_drop_in_registers(app: Installation, environment: Environment, library: Path) -> None:
    environment.write("spandrel/__init__.py", SPANDREL)
    install(app, method="drop-in")
    assert environment.output(IMPORT_ALL.format(backend=str(app.backend))) == "['ours', 'nodes']"


def test_the_drop_in_and_the_wheel_together(
    standin: Environment, app: Installation, library: Path, tmp_path: Path
) -> None:
    standin.write("paragon_arch/__init__.py", "from .spandrel_support import register as register\n")
    shutil.rmtree(standin.packages / "paragon_chainner" / "nodes")
    standin.write("paragon_chainner/nodes.py", NODES)
    install(app, method="drop-in")
    assert standin.output(IMPORT_ALL.format(backend=str(app.backend))) == "['ours', 'nodes']"


def test_the_drop_in_says_so_if_the_libraries_are_gone(
    app: Installation, environment: Environment, library: Path
) -> None:
    environment.write("spandrel/__init__.py", SPANDREL)
    install(app, method="drop-in")
    library.rename(library.with_name("moved"))
    assert "moved or removed" in environment.run(IMPORT_ALL.format(backend=str(app.backend))).stderr


@pytest.mark.parametrize("remove", [False, True])
def test_a_file_of_that_name_that_is_not_ours_is_left_alone(app: Installation, remove: bool) -> None:
    assert app.backend is not None
    file = drop_in.path_in(app.backend)
    file.write_text("# somebody else's\n")
    with pytest.raises(OutputError, match="not a file of ours"):
        _ = uninstall(app) if remove else install(app, method="drop-in")
    assert file.read_text() == "# somebody else's\n"


def test_without_pip_the_drop_in_is_taken_and_the_reason_given(app: Installation, environment: Environment) -> None:
    (environment.packages / "pip.pth").unlink()
    outcome = install(app)
    assert outcome.changed
    assert "no pip" in outcome.text
    assert app.backend is not None
    assert drop_in.current(app.backend) == drop_in.content()


def test_a_wheel_that_was_asked_for_is_refused_without_pip(app: Installation, environment: Environment) -> None:
    (environment.packages / "pip.pth").unlink()
    with pytest.raises(InvalidOptionError, match="no pip"):
        install(app, method="wheel")


def test_obstacles(app: Installation, environment: Environment) -> None:
    state = examine(environment.python)
    assert obstacle(state) is None
    changes: list[tuple[dict[str, Any], str]] = [
        ({"version": (3, 9, 1)}, "older than 3.10"),
        ({"site": False}, "import site"),
        ({"pip": False}, "no pip"),
        ({"managed": True}, "operating system"),
        ({"writable": False}, "no permission"),
    ]
    for change, words in changes:
        assert words in str(obstacle(type(state)(**{**state.__dict__, **change})))


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_an_embedded_python_that_reads_no_start_up_files(app: Installation, tmp_path: Path) -> None:
    """Its ``._pth`` without ``import site`` does what -S does: a wheel would be dead, so the drop-in is taken."""
    embedded = tmp_path / "python.exe"
    embedded.write_text(f'#!/bin/sh\nexec "{app.python}" -S "$@"\n')
    embedded.chmod(0o755)
    outcome = install(replace(app, python=embedded))
    assert "no wheel: that Python reads no start-up files" in outcome.text
    assert app.backend is not None
    assert drop_in.current(app.backend) == drop_in.content()


def test_without_permission(app: Installation, environment: Environment) -> None:
    """A dry run says so too, and nothing is left behind."""
    assert app.backend is not None
    folder = drop_in.path_in(app.backend).parent
    before = contents(app.folder)
    environment.packages.chmod(0o555)
    if os.access(environment.packages, os.W_OK):
        pytest.skip("this user may write everywhere")
    try:
        assert "no permission" in install(app, dry_run=True).text
        folder.chmod(0o555)
        for dry_run in (True, False):
            with pytest.raises(OutputError, match=r"as administrator \(no wheel: no permission"):
                install(app, dry_run=dry_run)
    finally:
        environment.packages.chmod(0o755)
        folder.chmod(0o755)
    assert contents(app.folder) == before


def test_a_python_that_does_not_start(app: Installation, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("no program")
    with pytest.raises(OutputError, match="--python"):
        examine(broken)


def test_pip_that_fails_is_reported_with_its_last_line(app: Installation, environment: Environment) -> None:
    (environment.packages / "pip.pth").unlink()
    environment.write("pip/__main__.py", "import sys\nsys.exit('ERROR: [Errno 13] Permission denied: x')\n")
    environment.write("pip/__init__.py", "")
    with pytest.raises(OutputError, match="Permission denied"):
        install(app, method="wheel")
    outcome = install(app)
    assert "no wheel: " in outcome.text
    assert "Permission denied" in outcome.text
    assert app.backend is not None
    assert drop_in.current(app.backend) == drop_in.content()


def test_an_app_that_was_never_started_is_not_given_the_drop_in_unasked(app: Installation) -> None:
    before = contents(app.folder)
    with pytest.raises(InvalidOptionError, match="start it once"):
        install(replace(app, python=None))
    assert contents(app.folder) == before
    assert install(replace(app, python=None), method="drop-in").changed


def test_repacking_an_installed_copy_gives_the_same_wheel(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed copy has no sources to build from: it passes itself on."""
    site = tmp_path / "site"
    options = ["--no-deps", "--no-index", "--quiet", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    monkeypatch.setattr(wheels, "library_folder", lambda: site)
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    copy = wheels.make_wheel(tmp_path)
    assert copy.name == wheel.name
    expected = wheels.fingerprint(wheels.wheel_record(wheel))
    assert wheels.fingerprint(wheels.wheel_record(copy)) == expected
    assert len(expected) > 20


def test_the_command(app: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    target = ["--python", str(app.python), "--backend", str(app.backend)]
    assert main(["chainner", "install", *target, "--dry-run", "--method", "drop-in"]) == ExitCode.OK
    assert "would be written" in capsys.readouterr().out
    assert main(["chainner", "install", *target, "--method", "drop-in"]) == ExitCode.OK
    assert main(["chainner", "status", *target]) == ExitCode.OK
    status = capsys.readouterr().out
    assert "drop-in        installed" in status
    assert "wheel          not installed" in status
    assert main(["chainner", "uninstall", *target]) == ExitCode.OK
    assert main(["chainner", "uninstall", *target]) == ExitCode.OK
    assert "nothing of ours" in capsys.readouterr().out


def test_the_command_without_an_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    assert main(["chainner", "status", "--backend", str(tmp_path)]) == ExitCode.OPTION
    assert "server.py" in capsys.readouterr().err
