"""Manifests, recipes, journals, caches and settings: JSON and TOML that anybody may have written.

Whatever such a file holds, readers get plain types, nested a little, or one error. Nothing here trusts a file to be
small, shallow, or what a program of ours once wrote.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from ..errors import InvalidOptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

MAX_BYTES = 8 * 2**20
"""Of a file; a journal of a large release has some hundred kilobytes."""
MAX_DEPTH = 32
"""Containers inside containers."""
_MAX_BITS = 64


def read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file.

    Returns:
        Text, finite numbers of 64 bits, booleans, None, and lists and dictionaries of them.

    Raises:
        InvalidOptionError: it cannot be read, or holds something else.
    """
    return _read(path, "JSON", json_object)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, as `read_json`; dates are refused."""
    return _read(path, "TOML", _toml)


def recall(path: Path) -> dict[str, Any]:
    """What `read_json` reads; {} where there is no such file, or another one: for what can be made again."""
    try:
        return read_json(path)
    except InvalidOptionError:
        return {}


def json_object(text: str) -> dict[str, Any]:
    """As `read_json`, of text.

    Raises:
        ValueError: it is something else.
    """
    try:
        return _checked(json.loads(text, parse_constant=_refuse))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _toml(text: str) -> dict[str, Any]:
    if tomllib is None:
        try:
            import tomli as parser
        except ImportError as error:
            raise InvalidOptionError("TOML needs Python 3.11, or the package tomli: pip install tomli") from error
    else:
        parser = tomllib
    try:
        return _checked(parser.loads(text))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _read(path: Path, kind: str, parse: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            if not path.is_file():
                raise InvalidOptionError(f"{path}: is not a regular file")
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidOptionError(f"{path}: cannot be read: {error}") from error
    if len(data) > MAX_BYTES:
        raise InvalidOptionError(f"{path}: has over {MAX_BYTES:,} bytes, which no such file needs")
    try:
        return parse(data.decode("utf-8-sig"))
    except ValueError as error:
        raise InvalidOptionError(f"{path}: not valid {kind}: {str(error)[:200]}") from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


def _checked(value: object) -> dict[str, Any]:
    """The value, after a look at everything in it that does not recurse.

    Raises:
        ValueError: something that `read_json` does not return.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found a {type(value).__name__}")
    level: list[object] = [cast("object", value)]
    for _ in range(MAX_DEPTH):
        deeper: list[object] = []
        for item in level:
            deeper += _members(item)
        if not deeper:
            return cast("dict[str, Any]", value)
        level = deeper
    raise ValueError(f"it is nested more than {MAX_DEPTH} times")


def _members(item: object) -> list[object]:
    """What a container holds; nothing of a leaf that is allowed."""
    if isinstance(item, dict):
        table = cast("dict[str, object]", item)
        return [*table, *table.values()]
    if isinstance(item, list):
        return cast("list[object]", item)
    if isinstance(item, str):
        item.encode("utf-8")  # half of a character, which JSON can write, is a ValueError
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise ValueError("a number is not finite")
    elif isinstance(item, int):
        if item.bit_length() > _MAX_BITS:
            raise ValueError("a number is too large")
    elif item is not None:
        raise ValueError(f"a {type(item).__name__} is not allowed")
    return []


def printable(text: str | os.PathLike[str]) -> str:
    """A name that may hold bytes which are no text, as UTF-8 can write it."""
    return os.fspath(text).encode("utf-8", "replace").decode("utf-8")
