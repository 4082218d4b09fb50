"""What the loader's badge (web/js/badge.js) says about the chosen file before anything runs."""

from __future__ import annotations

import json
from collections.abc import Mapping

import paragon_arch
from paragon_arch.errors import ParagonError

from . import host
from .describe import badge, describe

ROUTE = "/paragonsr/recognised"


def answer(query: Mapping[str, str]) -> tuple[int, str]:
    """HTTP status and JSON for ``?model=NAME&scale=INT&alpha=FLOAT``, with the values of the loader's widgets.

    ``badge`` is the line to show, ``details`` the text of its tooltip: where each value came from, or what is wrong.
    """
    name = query.get("model", "")
    if name not in host.model_names():
        return 404, json.dumps({"badge": "no such model", "details": "press R to read the list of models again"})
    try:
        scale, alpha = int(query.get("scale", 0)), float(query.get("alpha", -1))
        report = paragon_arch.inspect(host.model_path(name), scale=scale or None, alpha=None if alpha < 0 else alpha)
    except ValueError as error:
        return 400, json.dumps({"badge": "not a number", "details": str(error)})
    except ParagonError as error:
        return 200, json.dumps({"badge": "cannot be used", "details": str(error)})
    return 200, json.dumps({"badge": badge(report), "details": describe(report)})
