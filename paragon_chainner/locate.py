"""Where chaiNNer keeps its Python and its back end, on each system.

The app has a data folder (settings, its own Python) and an application folder (the back end's source, plain files).
The portable form keeps both in one place, marked by an empty file ``portable`` beside the program.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragon_arch.errors import InvalidOptionError
from paragon_arch.files.records import recall

MINIMUM = (3, 10)
"""Oldest Python that chaiNNer and we run on."""
PYTORCH_PACKAGE = Path("packages", "chaiNNer_pytorch")
"""Below the back end: the folder whose modules chaiNNer imports one by one."""


def version_of(python: Path) -> tuple[int, ...] | None:
    """What ``--version`` of a program says, which is how chaiNNer asks; None if it is no Python that runs."""
    command = [str(python), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603
    except OSError:
        return None
    found = re.search(r"Python (\d+)\.(\d+)", done.stdout + done.stderr)
    return tuple(int(part) for part in found.groups()) if found and not done.returncode else None


@dataclass(frozen=True)
class System:
    """What finding the app depends on; tests make their own."""

    platform: str
    """As `sys.platform`: "win32", "darwin" or anything else for Linux."""
    home: Path
    root: Path
    """The root of the file system, where system-wide applications are looked for."""
    variables: Mapping[str, str]
    """Environment variables."""
    version: Callable[[Path], tuple[int, ...] | None] = version_of
    """The version of a Python program."""

    @property
    def windows(self) -> bool:
        """Whether paths are those of Windows."""
        return self.platform == "win32"


@dataclass(frozen=True)
class Installation:
    """One chaiNNer. At least one of `python` and `backend` is there."""

    kind: str
    """"installed", "portable", "source checkout" or "as given"."""
    folder: Path
    """Where it was found: the data folder, or the portable or source folder."""
    python: Path | None
    """The interpreter that runs the back end."""
    system_python: bool
    """The settings choose a Python of the system, not the app's own."""
    backend: Path | None
    """The folder of ``server.py``."""


def find(system: System, app: Path | None = None) -> list[Installation]:
    """Every chaiNNer of this user.

    Args:
        system: where to look.
        app: a portable folder, a macOS application bundle, an installed app's folder or a source checkout; only this
            one is then looked at. A folder that is no portable app is paired with the user's data folder.

    Raises:
        InvalidOptionError: `app` is nothing of these, or permission to look there is missing.
    """
    try:
        return [_given(system, app)] if app is not None else _of_user(system)
    except PermissionError as error:
        raise InvalidOptionError(f"{error.filename}: no permission to look there; run this as its owner") from error


def _of_user(system: System) -> list[Installation]:
    backend = next((found for folder in _application_folders(system) if (found := backend_below(folder))), None)
    data = data_folder(system)
    python, chosen = _python(system, data)
    if python is None and backend is None:
        return []
    return [Installation("installed", data, python, chosen, backend)]


def _given(system: System, app: Path) -> Installation:
    backend = backend_below(app)
    if backend is None:
        raise InvalidOptionError(
            f"{app}: no chaiNNer is there: there is no resources/src/server.py, Contents/Resources/src/server.py or "
            "backend/src/server.py below it; give the folder that holds the program"
        )
    portable = (app / "portable").exists()
    data = app if portable else data_folder(system)
    python, chosen = _python(system, data)
    source = backend == app / "backend" / "src"
    kind = "portable" if portable else "source checkout" if source else "installed"
    return Installation(kind, app if portable or source else data, python, chosen, backend)


def data_folder(system: System) -> Path:
    """The folder of settings and of the app's own Python."""
    if system.windows:
        return Path(system.variables.get("APPDATA") or system.home / "AppData" / "Roaming", "chaiNNer")
    if system.platform == "darwin":
        return system.home / "Library" / "Application Support" / "chaiNNer"
    return Path(system.variables.get("XDG_CONFIG_HOME") or system.home / ".config", "chaiNNer")


def backend_below(app: Path) -> Path | None:
    """The back end's source folder of an application folder, bundle or checkout."""
    candidates = (app / place for place in ("resources/src", "Contents/Resources/src", "backend/src"))
    return next((place for place in candidates if is_backend(place)), None)


def is_backend(folder: Path) -> bool:
    """Whether a folder is the back end's source."""
    return (folder / "server.py").is_file() and (folder / PYTORCH_PACKAGE).is_dir()


def _application_folders(system: System) -> Iterator[Path]:
    """Where installers put the program, the newest version first."""
    if system.windows:
        local = Path(system.variables.get("LOCALAPPDATA") or system.home / "AppData" / "Local", "chaiNNer")
        yield from sorted(local.glob("app-*"), key=_version, reverse=True)
    elif system.platform == "darwin":
        for folder in (system.root, system.home):
            yield folder / "Applications" / "chaiNNer.app"
    else:
        for name in ("usr/lib/chainner", "opt/chaiNNer"):
            yield system.root / name


def _version(folder: Path) -> tuple[int, ...]:
    """``app-0.25.1`` as numbers; anything else sorts as older."""
    parts = folder.name.removeprefix("app-").split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


def _python(system: System, data: Path) -> tuple[Path | None, bool]:
    """The interpreter that the app would run, and whether it is one of the system.

    With the setting for it, that is the first of the named one, ``python3`` and ``python`` that is new enough.
    """
    settings = _settings(data / "settings.json")
    if settings.get("useSystemPython") is True:
        chosen = settings.get("systemPythonLocation")
        names = [chosen] if isinstance(chosen, str) and chosen else []
        for name in [*names, "python3", "python"]:
            path = shutil.which(name, path=system.variables.get("PATH"))
            if path and (system.version(Path(path)) or ()) >= MINIMUM:
                return Path(path), True
    return next(_own_pythons(data / "python" / "python", system), None), False


def _own_pythons(folder: Path, system: System) -> Iterator[Path]:
    """The programs of the app's own Python, whatever its version is; the newest first, plain names last."""
    if system.windows:
        named = [folder / "python.exe"]
    else:
        numbered = (path for path in folder.glob("bin/python3.*") if path.suffix[1:].isdecimal())
        named = sorted(numbered, key=lambda path: int(path.suffix[1:]), reverse=True)
        named += [folder / "bin" / name for name in ("python3", "python")]
    return (path for path in named if path.is_file())


def _settings(file: Path) -> dict[str, Any]:
    """The app's settings; {} where there are none that can be read, as then its own Python is the likely one."""
    return recall(file)


def this_system(variables: Mapping[str, str]) -> System:
    """The machine this runs on."""
    return System(sys.platform, Path.home(), Path(Path.home().anchor), variables)
