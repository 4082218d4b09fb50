"""JSON and TOML that anybody may have written: plain types or one typed error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paragon_arch.errors import InvalidOptionError, ParagonError
from paragon_arch.files.records import MAX_BYTES, json_object, printable, read_json, read_toml, recall
from paragon_chainner import locate
from paragon_engine.backends.choose import read_cache, write_cache
from paragon_engine.benchmark.report import from_json
from paragon_engine.release.run import finished
from paragon_engine.release.settings import read_manifest
from paragon_engine.release.staging import Staging
from training.recipe_file import read_recipe

ODD = {
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 5000 + "1" + "}" * 5000,
    "a little too deep": '{"a":' * 40 + "1" + "}" * 40,
    "list": "[1, 2]",
    "number": "7",
    "text": '"x"',
    "nothing": "null",
    "empty": "",
    "infinity": '{"a": Infinity}',
    "not a number": '{"a": NaN}',
    "beyond floats": '{"a": 1e999}',
    "beyond integers": '{"a": ' + "9" * 4400 + "}",
    "many bits": '{"a": ' + "9" * 30 + "}",
    "half a character": '{"a": "\\ud800"}',
    "half a character as a name": '{"\\ud800": 1}',
    "cut": '{"a": ',
    "nul": "\0",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(ODD[name], encoding="utf-8")
    with pytest.raises(InvalidOptionError, match=r"r\.json: not valid JSON"):
        read_json(path)
    assert recall(path) == {}


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000 + "]" * 5000,
        "a = inf",
        "a = nan",
        "a = 1979-05-27",
        "a = " + "9" * 5000,
        ".".join(["a"] * 200) + " = 1",
        "a = 1\na = 2",
        "=",
    ],
)
def test_odd_toml(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    readers: tuple[Callable[[Path], object], ...] = (read_toml, read_recipe, lambda file: read_manifest(file, tmp_path))
    for read in readers:
        with pytest.raises(InvalidOptionError, match=r"r\.toml"):
            read(path)


def test_what_is_no_text_or_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"a": "\xff"}')
    (tmp_path / "large").write_bytes(b" " * (MAX_BYTES + 1))
    for name in ("a", "large", "none", ".", "a/b"):
        with pytest.raises(InvalidOptionError):
            read_json(tmp_path / name)


def test_what_is_sound_is_read(tmp_path: Path) -> None:
    content: dict[str, Any] = {"a": [1, 2.5, None, True, "ü"], "b": {"c": {}}}
    (tmp_path / "a").write_text(json.dumps(content), encoding="utf-8-sig")
    assert read_json(tmp_path / "a") == recall(tmp_path / "a") == content
    assert json_object('{"a": -1}') == {"a": -1}
    assert printable(b"a\xffb".decode("utf-8", "surrogateescape")) == "a?b"


@pytest.mark.parametrize(
    "model",
    [
        "model = [1]",
        'model = ["x"]',
        "[model]\ncheckpoint = 'a'",
        "[[model]]\ncheckpoint = 1",
        "[[model]]\ncheckpoint = 'a'\nprecisions = [['fp32']]",
        "[[model]]\ncheckpoint = 'a'\npictures = [1]",
        "[[model]]\ncheckpoint = 'a'\nprofile = {min = [[1], 2]}",
        "[[model]]\ncheckpoint = 'a'\nprofile = {min = 3}",
        "[[model]]\ncheckpoint = ''",
        "defaults = 3\n[[model]]\ncheckpoint = 'a'",
    ],
)
def test_manifests_with_values_in_wrong_places(model: str, tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(model, encoding="utf-8")
    with pytest.raises(InvalidOptionError, match=r"m\.toml"):
        read_manifest(path, tmp_path)


@pytest.mark.parametrize("at", ['"x"', "null", "[1]", '{"a": 1}', "true"])
def test_a_cache_with_a_wrong_time(at: str, tmp_path: Path) -> None:
    path = tmp_path / "backends.json"
    path.write_text(f'{{"a": {{"backend": ["torch"], "at": {at}}}, "b": 3}}', encoding="utf-8")
    write_cache(path, {**read_cache(path), "c": {"backend": "torch", "at": 1.0}})
    assert read_cache(path).keys() == {"a", "c"}


@pytest.mark.parametrize("text", [*ODD.values(), '{"key": "k"}', '{"key": "k", "files": [1], "failed": {}}',
                                  '{"key": "k", "files": {"../x": {"sha256": ""}}, "failed": {}}'])  # fmt: skip
def test_every_reader_of_ours(text: str, tmp_path: Path) -> None:
    for name in ("manifest.json", ".out.release.json", "settings.json"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert finished(tmp_path, "k") is None
    assert locate._settings(tmp_path / "settings.json").keys() <= {"key", "files", "failed"}  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(ParagonError):
        Staging(tmp_path / "out", "k", "stem").open()
    with pytest.raises(InvalidOptionError):
        from_json(text)
