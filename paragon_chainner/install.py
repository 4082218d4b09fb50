"""Put the project into a chaiNNer, say whether it is there, and take it out again without a trace."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragon_arch.errors import InvalidOptionError, OutputError

from . import drop_in
from .locate import MINIMUM, Installation
from .wheels import DISTRIBUTION, fingerprint, make_wheel, wheel_record

METHODS = ("auto", "wheel", "drop-in")

_PROBE = f"""
import importlib.metadata as metadata, importlib.util, json, os, sys, sysconfig
folder = sysconfig.get_path("purelib")
found = next(iter(metadata.distributions(name={DISTRIBUTION!r}, path=[folder])), None)
marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
print(json.dumps(dict(
    version=sys.version_info[:3],
    packages=folder,
    installed=found and found.version,
    record=found and found.read_text("RECORD"),
    site=not sys.flags.no_site,
    pip=importlib.util.find_spec("pip") is not None,
    managed=sys.prefix == sys.base_prefix and os.path.exists(marker),
    writable=os.access(folder, os.W_OK),
)))
"""


@dataclass(frozen=True)
class PythonState:
    """What matters about the app's Python."""

    version: tuple[int, int, int]
    packages: Path
    """Its site-packages folder."""
    installed: str | None
    """The version of ours that is installed there."""
    record: str
    """RECORD of the installed version; "" if there is none."""
    site: bool
    """It reads start-up files. An embedded Python for Windows does so only where its ``._pth`` says ``import site``."""
    pip: bool
    managed: bool
    """It belongs to the operating system's package manager, which pip must not interfere with (PEP 668)."""
    writable: bool


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be done in a dry run."""

    changed: bool
    text: str


def examine(python: Path) -> PythonState:
    """Ask an interpreter about itself; it runs isolated from the user's own packages, as chaiNNer runs it.

    Raises:
        OutputError: it cannot be run.
    """
    done = _run(python, "-c", _PROBE)
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise OutputError(f"{python}: this Python does not run ({_last_line(done)}); start chaiNNer once") from error
    answer["version"] = tuple(answer["version"])
    answer["packages"] = Path(answer["packages"])
    answer["record"] = answer["record"] or ""
    return PythonState(**answer)


def obstacle(state: PythonState) -> str | None:
    """Why nothing can be installed into a Python, or None."""
    if state.version < MINIMUM:
        return f"Python {'.'.join(map(str, state.version))} is older than 3.10"
    if not state.site:
        return "that Python reads no start-up files: add the line `import site` to the file ._pth beside it"
    if not state.pip:
        return "that Python has no pip"
    if state.managed:
        return "that Python belongs to the operating system's package manager"
    if not state.writable:
        return f"no permission to write to {state.packages}"
    return None


def install(app: Installation, *, method: str = "auto", dry_run: bool = False) -> Outcome:
    """Install this copy of the project into an app; doing it again changes nothing.

    Args:
        app: from `locate.find`.
        method: "wheel" into its Python, "drop-in" into its back end, or "auto": the wheel where that is possible.
        dry_run: change nothing, only say what would be done.

    Raises:
        InvalidOptionError: the method does not suit this app; the message says why and what does.
        OutputError: something cannot be written, or pip failed; then the app is as it was.
    """
    if method == "drop-in":
        return install_drop_in(app, dry_run=dry_run)
    if app.python is None:
        raise InvalidOptionError(
            f"{app.folder}: chaiNNer has no Python yet: start it once so that it sets one up, or give the one that it "
            "uses with --python"
        )
    reason, only_wheel = obstacle(examine(app.python)), method == "wheel" or app.backend is None
    try:
        if reason is None:
            return install_wheel(app.python, dry_run=dry_run)
    except OutputError as error:
        if only_wheel:
            raise
        reason = str(error)
    if only_wheel:
        raise InvalidOptionError(
            f"{app.folder}: the wheel cannot be installed: {reason}. Give --python, run this as a user who may write "
            "there, or use --method drop-in with --app"
        )
    try:
        outcome = install_drop_in(app, dry_run=dry_run)
    except OutputError as error:
        raise OutputError(f"{error} (no wheel: {reason})") from error
    return Outcome(outcome.changed, f"{outcome.text} (no wheel: {reason})")


def install_wheel(python: Path, *, dry_run: bool = False) -> Outcome:
    """Install the wheel with that Python's own pip, touching no other package."""
    state = examine(python)
    with tempfile.TemporaryDirectory(prefix="paragonsr-") as folder:
        wheel = make_wheel(Path(folder))
        if fingerprint(wheel_record(wheel)) == fingerprint(state.record.splitlines()):
            return Outcome(False, f"{state.packages}: {DISTRIBUTION} {state.installed} is there already")
        verb = "replace" if state.installed else "install"
        if dry_run:
            return Outcome(True, f"{state.packages}: would {verb} {wheel.name}")
        options = ["--no-deps", "--no-index", "--force-reinstall", "--no-warn-script-location"]
        _pip(python, state, "install", *options, str(wheel))
        return Outcome(True, f"{state.packages}: {verb}{'d' if verb == 'replace' else 'ed'} {wheel.name}")


def install_drop_in(app: Installation, *, dry_run: bool = False) -> Outcome:
    """Write the drop-in into the back end."""
    if app.backend is None:
        raise InvalidOptionError(f"{app.folder}: the app's program folder was not found; give it with --app")
    file = drop_in.path_in(app.backend)
    if drop_in.current(app.backend) == drop_in.content():
        return Outcome(False, f"{file}: is there already")
    if dry_run:
        drop_in.check_writable(app.backend)
    else:
        drop_in.write(app.backend)
    return Outcome(True, f"{file}: {'would be ' if dry_run else ''}written")


def uninstall(app: Installation, *, dry_run: bool = False) -> list[Outcome]:
    """Remove wheel and drop-in, as far as they are there.

    Raises:
        OutputError: permission is missing, or pip failed.
    """
    outcomes: list[Outcome] = []
    verb = "would remove" if dry_run else "removed"
    if app.backend is not None and drop_in.current(app.backend) is not None:
        if not dry_run:
            drop_in.remove(app.backend)
        outcomes.append(Outcome(True, f"{drop_in.path_in(app.backend)}: {verb}"))
    if app.python is not None and (state := examine(app.python)).installed:
        if not dry_run:
            _pip(app.python, state, "uninstall", "--yes", DISTRIBUTION)
        outcomes.append(Outcome(True, f"{state.packages}: {verb} {DISTRIBUTION} {state.installed}"))
    return outcomes


def _pip(python: Path, state: PythonState, *arguments: str) -> None:
    done = _run(python, "-m", "pip", "--disable-pip-version-check", *arguments)
    if done.returncode:
        raise OutputError(f"{state.packages}: pip failed ({_last_line(done)}); close chaiNNer, and {drop_in.AS_OWNER}")


def _run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the app's Python as the app does: no user packages, no PYTHON variables."""
    try:
        return subprocess.run(  # noqa: S603 - the user's own interpreter
            [str(python), "-I", *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise OutputError(f"{python}: this Python cannot be started ({error}); give another with --python") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"
