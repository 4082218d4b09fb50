"""``inspect``: what is in a checkpoint, and how we know."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paragon_arch
from paragon_arch.errors import ParagonError
from paragon_engine.catalog import origin

from .. import console
from ..command import Command, add_overrides, model_file, overrides
from ..exit_codes import ExitCode, exit_code

if TYPE_CHECKING:
    from paragon_arch import Inspection, Resolved

SOURCES = {
    "override": "given on the command line",
    "hint": "stored in the file",
    "shapes": "proved by the tensors",
    "name": "from the file's name",
    "measured": "measured on the model",
    "default": "default of the layout",
}
"""How a value was decided, in the order in which the sources are asked."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path, help="checkpoint or shipped model")
    parser.add_argument("--json", action="store_true", help="print a JSON list with one object for each file")
    parser.add_argument(
        "--validate",
        action="store_true",
        help="also run each model once: training patterns, state, scale of the output",
    )
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Inspect every file, those after a bad one too; the exit code is that of the first bad one."""
    results: list[tuple[Path, Inspection | ParagonError]] = []
    for path in args.files:
        try:
            results.append((path, _inspected(model_file(path), args)))
        except ParagonError as error:
            results.append((path, error))
    errors = [result for _, result in results if isinstance(result, ParagonError)]
    if args.json:
        console.say(json.dumps([_record(path, result) for path, result in results], indent=2))
    else:
        found = [(path, result) for path, result in results if not isinstance(result, ParagonError)]
        lines = block(*found[0]) if len(found) == 1 else compact(found)
        for line in lines:
            console.say(line)
    for error in errors:
        console.report(error, exit_code(error))
    return exit_code(errors[0]) if errors else ExitCode.OK


def _inspected(path: Path, args: argparse.Namespace) -> Inspection:
    """The report, with what validating found among its problems and its own line."""
    if not args.validate:
        return paragon_arch.inspect(path, **overrides(args))
    from paragon_engine.release.validation import validate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", paragon_arch.ParagonWarning)  # the report has them
        model = paragon_arch.open_model(path, **overrides(args))
    found = validate(model)
    lines = tuple(f"validation: {problem}" for problem in found.problems)
    return replace(model.report, problems=(*model.report.problems, *lines), validation=found.to_dict())


def _record(path: Path, result: Inspection | Exception) -> dict[str, Any]:
    if isinstance(result, Exception):
        code = exit_code(result)
        problem = {"type": type(result).__name__, "message": console.describe(result, code), "exit_code": int(code)}
        return {"file": str(path), "error": problem}
    return result.to_json() | {"origin": origin(result.path)}


def block(path: Path, found: Inspection) -> list[str]:
    """Everything about one file."""
    rows = [
        ("layout", f"{found.layout} ({found.generation})"),
        ("variant", found.variant or f"custom: {_numbers(found.hyperparameters)}"),
        *((name.replace("_", " "), _explained(value)) for name, value in found.values.items()),
        ("state", _state(found)),
        ("parameters", f"{found.parameters:,}"),
        ("dtype", found.dtype),
        ("receptive field", _radius(found)),
        ("file", ", ".join(part for part in (found.format, found.wrapper, origin(found.path)) if part)),
        *((("validation", str(found.validation["message"])),) if found.validation else ()),
        *(("problem", problem) for problem in found.problems),
    ]
    return [str(path), *(f"  {line}" for line in console.columns(rows))]


def compact(found: list[tuple[Path, Inspection]]) -> list[str]:
    """One line a file, then their problems."""
    if not found:
        return []
    rows = [("FILE", "LAYOUT", "VARIANT", "SCALE", "ALPHA", "STATE", "PARAMETERS", "DTYPE")]
    rows += [
        (
            path.name,
            item.layout,
            item.variant or "custom",
            _brief(item.values.get("scale")),
            _brief(item.values.get("alpha")),
            _state(item),
            f"{item.parameters:,}",
            item.dtype,
        )
        for path, item in found
    ]
    problems = [f"{path.name}: {problem}" for path, item in found for problem in item.problems]
    return [*console.columns(rows), *([""] if problems else []), *problems]


def _explained(value: Resolved) -> str:
    return f"{_plain(value.value)}  ({SOURCES.get(value.source, value.source)})"


def _brief(value: Resolved | None) -> str:
    return "-" if value is None else f"{_plain(value.value)} ({value.source})"


def _plain(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _state(found: Inspection) -> str:
    if found.fused:
        return "fused"
    return "unfused" if found.fusible else "nothing to fuse"


def _radius(found: Inspection) -> str:
    return "whole image" if found.receptive_field is None else f"{found.receptive_field} pixels around each"


def _numbers(hyper: Mapping[str, Any]) -> str:
    names = ("num_feat", "num_groups", "num_blocks")
    return ", ".join(f"{name} {hyper[name]}" for name in names if name in hyper) or "unnamed size"


COMMAND = Command(
    name="inspect",
    summary="say what is in a checkpoint, and how that is known",
    manual="""\
Print layout, variant, scale, sharpening alpha, state and size of ParagonSR checkpoints, and what is wrong with them.
Nothing in a file is executed. One file gives a block, several a table.

where a value comes from, first match wins:
"""
    + "\n".join(f"  {name:<10}{meaning}" for name, meaning in SOURCES.items()),
    examples="""\
  %(prog)s 2x_model.safetensors
  %(prog)s models/*.safetensors
  %(prog)s --json net_g_ema.pth | jq '.[0].values.scale'""",
    configure=configure,
    run=run,
)
