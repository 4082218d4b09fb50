"""``doctor``: what this computer can do, what does not work, and the cure."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from paragon_arch.errors import ParagonError
from paragon_chainner import drop_in
from paragon_chainner.install import examine
from paragon_chainner.locate import Installation, find, this_system
from paragon_engine.doctor import Facts, Finding, Program, as_dict, collect, findings, lines, self_test
from paragon_engine.progress import log

from .. import console
from ..command import Command
from ..exit_codes import ExitCode
from ..reports import add_json, say_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--no-test", action="store_true", help="leave the self-test out")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Find out, judge, tell."""
    facts = collect(tuple(chainner_places()))
    if not args.no_test and facts.devices:
        log.info("the included model runs on every device; that takes about ten seconds")
        facts = self_test(facts)
    return tell(facts, findings(facts), as_json=args.json)


def tell(facts: Facts, found: list[Finding], *, as_json: bool) -> ExitCode:
    """Print a report; the exit code says whether there is a problem."""
    if as_json:
        say_json(as_dict(facts, found))
    else:
        for name, value in lines(facts, found):
            console.say(f"  {name:<26}{value}" if value else f"\n{name}")
    return ExitCode.PROBLEM if any(finding.level == "problem" for finding in found) else ExitCode.OK


def chainner_places() -> Iterator[Program]:
    """The chaiNNer of this user."""
    try:
        found = find(this_system(os.environ))
    except ParagonError:
        return
    for app in found:
        yield Program("chaiNNer", str(app.folder), _ours_in(app), "close chaiNNer and run: paragonsr chainner install")


def _ours_in(app: Installation) -> str | None:
    parts: list[str] = []
    try:
        if app.python is not None and (state := examine(app.python)).installed:
            parts.append(f"wheel {state.installed}")
        if app.backend is not None and drop_in.current(app.backend) is not None:
            parts.append("drop-in")
    except ParagonError as error:
        log.info("%s", error)
    return ", ".join(parts) or None


COMMAND = Command(
    name="doctor",
    summary="say what this computer can do, what does not work, and the cure",
    manual="""\
Look at everything that ParagonSR depends on: versions, graphics cards and whether this PyTorch can use them, backends,
free memory, video codecs, ComfyUI and chaiNNer. Then run the included model on every device and compare its output
with the one that it must give. Each finding comes with its cure. Nothing is changed and nothing is sent anywhere.

A problem (exit code 12) is something that does not work; a note is something that could be better.""",
    examples="""\
  %(prog)s
  %(prog)s --no-test
  %(prog)s --json""",
    configure=configure,
    run=run,
)
