"""Reports that several commands print, as lines and as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import console

if TYPE_CHECKING:
    from paragon_engine.release.verify import Verification

UNITS = {"max_abs": "max. difference", "psnr": "PSNR, dB", "loss_db": "loss, dB", "loss_ssim": "loss, SSIM"}
"""Figures of a verification, and how tables call them."""


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """The option that names pictures to prove something on."""
    parser.add_argument(
        "--pictures",
        metavar="P",
        type=Path,
        action="append",
        default=[],
        help="photograph or folder of photographs to verify on; may be repeated (default: generated pictures)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option for output that programs read."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def say_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print JSON on standard output."""
    console.say(json.dumps(value, indent=2, sort_keys=True))


def verification_lines(verification: Verification, *, details: bool = False) -> list[str]:
    """A verification as text.

    Args:
        verification: the outcome.
        details: a line for every input, too.
    """
    report = verification.to_dict()
    rows = [("input", *UNITS.values())]
    if details:
        rows += [(item["name"], *(figure(item[key]) for key in UNITS)) for item in report["results"]]
    rows.append(("worst (losses: mean)", *(figure(report[key]) for key in UNITS)))
    state = "passed" if verification.passed else "FAILED: " + "; ".join(verification.failures)
    head = f"{verification.artefact}: {state}"
    return [head, f"  {verification.precision}, on {verification.pictures} and odd sizes"] + [
        f"  {line}" for line in console.columns(rows)
    ]


def figure(value: float | None) -> str:
    """A figure for a table; "-" where there is none."""
    return "-" if value is None else f"{value:.3g}"
