"""``chainner``: install the project into chaiNNer, and take it out again."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from paragon_arch.errors import InvalidOptionError
from paragon_chainner import drop_in
from paragon_chainner.install import METHODS, Outcome, examine, install, obstacle, uninstall
from paragon_chainner.locate import Installation, find, is_backend, this_system
from paragon_engine.progress import log

from .. import console
from ..command import Command
from ..exit_codes import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=("install", "status", "uninstall"), help="what to do")
    parser.add_argument(
        "--app",
        type=Path,
        metavar="FOLDER",
        help="chaiNNer's program folder: a portable one, an application bundle, or a source checkout",
    )
    parser.add_argument("--python", type=Path, metavar="FILE", help="the Python that chaiNNer uses")
    parser.add_argument("--backend", type=Path, metavar="FOLDER", help="the folder of chaiNNer's server.py")
    parser.add_argument("--method", choices=METHODS, default="auto", help="how to install (default: %(default)s)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be done")


def run(args: argparse.Namespace) -> int:
    """Find the app, then do it."""
    app = _app(args.app, args.python, args.backend)
    if args.action == "status":
        for line in console.columns(_status(app)):
            console.say(line)
        return ExitCode.OK
    if args.action == "install":
        outcomes = [install(app, method=args.method, dry_run=args.dry_run)]
    else:
        outcomes = uninstall(app, dry_run=args.dry_run) or [Outcome(False, f"{app.folder}: nothing of ours is there")]
    for outcome in outcomes:
        console.say(outcome.text)
    if not args.dry_run and any(outcome.changed for outcome in outcomes):
        log.info("Restart chaiNNer.")
    return ExitCode.OK


def _app(folder: Path | None, python: Path | None, backend: Path | None) -> Installation:
    """The app that the options name, or the one of this user."""
    if backend is not None and not is_backend(backend):
        raise InvalidOptionError(f"--backend {backend}: there is no server.py with packages/chaiNNer_pytorch in it")
    system = this_system(os.environ)
    if python is not None and folder is None:
        return Installation("as given", python, python, False, backend)
    found = find(system, folder)
    if not found and backend is None:
        raise InvalidOptionError(
            "no chaiNNer of this user was found: start it once so that it sets up its Python, or give --app (a "
            "portable one's folder) or --python (docs/chainner.md shows where they are)"
        )
    app = found[0] if found else Installation("as given", Path(str(backend)), None, False, backend)
    return replace(app, python=python or app.python, backend=backend or app.backend)


def _status(app: Installation) -> list[tuple[str, str]]:
    """What was found and what of ours is in it, as rows."""
    rows = [("chaiNNer", f"{app.folder} ({app.kind})")]
    rows.append(("Python", str(app.python or "not found") + (" (the system's)" if app.system_python else "")))
    if app.python is not None:
        state = examine(app.python)
        rows.append(("site-packages", str(state.packages)))
        rows.append(("wheel", state.installed or f"not installed{_because(obstacle(state))}"))
    rows.append(("back end", str(app.backend or "not found")))
    if app.backend is not None:
        rows.append(("drop-in", "not installed" if drop_in.current(app.backend) is None else "installed"))
    return rows


def _because(reason: str | None) -> str:
    return f", and cannot be: {reason}" if reason else ""


COMMAND = Command(
    name="chainner",
    summary="make chaiNNer load ParagonSR models",
    manual="""\
Install this copy of the project into chaiNNer, so that its own nodes load every ParagonSR checkpoint. chaiNNer's Python
and program folder are found by themselves unless it is portable.

how it is installed:
  wheel     into chaiNNer's Python, without changing any other package; stays when chaiNNer is updated
  drop-in   one file in chaiNNer's program folder that loads the libraries from here; an update removes it
  auto      the wheel where that Python takes it, else the drop-in""",
    examples="""\
  %(prog)s status
  %(prog)s install --dry-run
  %(prog)s install --app D:\\chaiNNer-portable
  %(prog)s uninstall""",
    configure=configure,
    run=run,
)
