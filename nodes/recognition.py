"""What the loader's badge (web/js/badge.js) says about the chosen file before anything runs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import paragon_arch
from paragon_arch.errors import InvalidOptionError, ParagonError
from paragon_arch.inspection import Inspection

from . import host
from .describe import badge, describe
from .load_model import AUTO, overrides

ROUTE = "/paragonsr/recognised"
KEPT = 128
"""Files of which the answer is remembered."""


def answer(query: Mapping[str, str]) -> tuple[int, str]:
    """HTTP status and JSON for ``?model=NAME&scale=INT&alpha=FLOAT``, with the values of the loader's widgets.

    ``state`` is one of `badge` or says what is wrong: "missing", "invalid" or "unusable". ``details`` is the text of
    the badge's tooltip: where each value came from, or the error.
    """
    name = query.get("model", "")
    if name not in host.model_names():
        return _wrong(404, "missing", f"{name or 'nothing'}: press R to read the list of models again")
    try:
        scale, alpha = overrides(query.get("scale", AUTO), query.get("alpha", AUTO))
    except InvalidOptionError as error:
        return _wrong(400, "invalid", str(error))
    try:
        path = Path(host.model_path(name))
    except FileNotFoundError:  # a link to a file that is gone is listed all the same
        return _wrong(404, "missing", f"{name}: the file is gone, or is a link to one that is")
    report = recognised(path, scale, alpha)
    if isinstance(report, str):
        return _wrong(200, "unusable", report)
    return 200, json.dumps({**badge(report), "details": describe(report)})


def _wrong(status: int, state: str, details: str) -> tuple[int, str]:
    return status, json.dumps({"state": state, "details": details})


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
