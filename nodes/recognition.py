"""What the loader's badge (web/js/badge.js) says about the chosen file before anything runs."""

from __future__ import annotations

import json
from collections.abc import Mapping

import paragon_arch
from paragon_arch.errors import InvalidOptionError, ParagonError

from . import host
from .describe import badge, describe
from .load_model import AUTO, overrides

ROUTE = "/paragonsr/recognised"


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
        report = paragon_arch.inspect(host.model_path(name), scale=scale, alpha=alpha)
    except FileNotFoundError:  # a link to a file that is gone is listed all the same
        return _wrong(404, "missing", f"{name}: the file is gone, or is a link to one that is")
    except ParagonError as error:
        return _wrong(200, "unusable", str(error))
    return 200, json.dumps({**badge(report), "details": describe(report)})


def _wrong(status: int, state: str, details: str) -> tuple[int, str]:
    return status, json.dumps({"state": state, "details": details})
