"""What the loader's badge (web/js/badge.js) says about the chosen file before anything runs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import paragon_arch
from paragon_arch.errors import ParagonError
from paragon_arch.inspection import Inspection

from . import host
from .describe import badge, describe

ROUTE = "/paragonsr/recognised"
KEPT = 128
"""Files of which the answer is remembered."""


def answer(query: Mapping[str, str]) -> tuple[int, str]:
    """HTTP status and JSON for ``?model=NAME&scale=INT&alpha=FLOAT``, with the values of the loader's widgets.

    ``badge`` is the line to show, ``details`` the text of its tooltip: where each value came from, or what is wrong.
    """
    name = query.get("model", "")
    if name not in host.model_names():
        return 404, json.dumps({"badge": "no such model", "details": "press R to read the list of models again"})
    try:
        scale, alpha = int(query.get("scale", 0)), float(query.get("alpha", -1))
    except ValueError as error:
        return 400, json.dumps({"badge": "not a number", "details": str(error)[:200]})
    report = recognised(Path(host.model_path(name)), scale or None, None if alpha < 0 else alpha)
    if isinstance(report, str):
        return 200, json.dumps({"badge": "cannot be used", "details": report})
    return 200, json.dumps({"badge": badge(report), "details": describe(report)})


def recognised(path: Path, scale: int | None = None, alpha: float | None = None) -> Inspection | str:
    """What a file is, or what is wrong with it; read once, until the file changes."""
    try:
        stamp = host.stamp(path)
    except OSError as error:
        return str(error)
    return _recognised(path, stamp, scale, alpha)


@functools.lru_cache(KEPT)
def _recognised(path: Path, _stamp: str, scale: int | None, alpha: float | None) -> Inspection | str:
    try:
        return paragon_arch.inspect(path, scale=scale, alpha=alpha)
    except ParagonError as error:
        return str(error)
