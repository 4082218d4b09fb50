"""Every command line in the documents and help texts is run, on small stand-ins for the files that it names.

What cannot run here (another GPU, a download, hours of training) is checked as far as it goes: the parser takes the
arguments, the files that it names exist, the extras that it installs are declared.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from deploy.cli import build_parser, main
from tests.docs.pages import ROOT, Example, examples, synopses
from tests.docs.stand_ins import model, picture, provide, shipped
from training.__main__ import main as train

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLES = examples()
PLACEHOLDERS = {
    "FILE": "2x_model.safetensors",
    "MODEL": "2x_model.safetensors",
    "NAME": "2x-ParagonSR2-Realtime-v1",
    "PHOTOS/": "photos/",
    "COMMAND": "upscale",
    "RECIPE": "training/recipes/smoke.toml",
}
SHORTER = [
    ("--train 400", "--train 2"),
    ("paragonsr quantize (?=.)", "paragonsr quantize --samples 2 --crop 32 --size 32 --runs 3 "),
    ("--size 256 --size 512", "--size 32 --runs 3"),
    (r"(paragonsr benchmark(?!.*--(list|size)).*)", r"\1 --size 32 --runs 3"),
    ("--size 720x1280", "--size 24x32"),
    ("--width 1920", "--width 96"),
    ("--width (7680|3840) --height (4320|2160)", "--width 192 --height 108"),
]
"""What only makes a run longer, as (pattern, replacement)."""
HEAVY = ("release", "export", "quantize", "benchmark")
EXIT_CODES = {
    "paragonsr engine": 5,  # no TensorRT here: the commands are printed, as the page says
    "paragonsr engine --check": 3,  # the stand-in is no engine
}
"""Where success needs what this machine lacks."""


class StoppedError(Exception):
    """The arguments were taken; the work is not done."""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for every ONNX file."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("graph")
    model(folder / "2x_model.safetensors")
    assert main(["export", str(folder / "2x_model.safetensors"), "-o", str(folder), "--precision", "fp32", "-q"]) == 0
    return next(folder.glob("*.onnx"))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in; nothing of the user's is found or written."""
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "PARAGONSR_CACHE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    return tmp_path


def cases(*starts: str, mention: bool | None = None) -> Any:
    """The examples of some programs, as parameters of a test."""
    chosen = [
        item for item in EXAMPLES if item.line.startswith(starts) and (mention is None or item.mention == mention)
    ]
    assert chosen, starts
    return pytest.mark.parametrize("example", chosen, ids=lambda item: item.line)


def arguments(example: Example) -> list[str]:
    """The words of a command line after the program's name, with stand-ins for what the reader has to fill in."""
    line = example.line.replace("python -m deploy", "paragonsr")
    for pattern, shorter in SHORTER:
        line = re.sub(pattern, shorter, line)
    line = line.partition(" | ")[0].replace("OUT.onnx", "out.onnx")
    return [PLACEHOLDERS.get(word, word) for word in shlex.split(line)][1:]


def parses(words: list[str]) -> bool:
    """Whether these are all arguments that a command needs."""
    try:
        build_parser().parse_args(words)
    except SystemExit as stop:
        return stop.code == 0
    return True


def options(name: str) -> set[str]:
    """All options of a command."""
    actions: Any = build_parser()._subparsers  # pyright: ignore[reportPrivateUsage]
    return {option for action in actions._group_actions[0].choices[name]._actions for option in action.option_strings}


def with_weights() -> Iterator[Any]:
    """All commands of ours; those that take long are run by `-m exhaustive`, but for the first of their kind."""
    seen = {"release"}  # tests/release runs it
    for item in EXAMPLES:
        if item.line.startswith(("paragonsr", "python -m deploy")):
            words = [*arguments(item), ""]
            light = words[0] not in HEAVY or len(words) < 3 or {"--dry-run", "--list"} & set(words)
            marks = [] if light or words[0] not in seen else [pytest.mark.exhaustive]
            if not light:
                seen.add(words[0])
            yield pytest.param(item, id=item.line, marks=marks)


@cases("paragonsr", "python -m deploy", mention=False)
def test_command_of_ours_is_taken(example: Example) -> None:
    assert parses(arguments(example)) or "--help" in example.line


@pytest.mark.parametrize("example", list(with_weights()))
def test_command_of_ours_runs(example: Example, scratch: Path, graph: Path) -> None:
    words = arguments(example)
    if "--help" in words:
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
        return
    if example.mention and (len(words) < 2 or not parses(words)):  # "`paragonsr fuse` makes ...": what is named exists
        assert {word for word in words[1:] if word.startswith("-")} <= (options(words[0]) if words else set())
        return
    if words[0] == "chainner":  # tests/chainner runs it; here no chaiNNer is found
        assert parses(words)
        return
    provide(scratch, words, graph, dynamic=words[0] == "calibrate")
    starts = [start for start in EXIT_CODES if f"paragonsr {' '.join(words)}".startswith(start)]
    expected = EXIT_CODES[max(starts, key=len)] if starts and "--commands" not in words else 0
    if "--signature" in words:
        expected = 3  # the stand-in was never signed; tests/release signs one
    code = main([*expanded(words, scratch), "-q"])
    assert code == expected or (words[0] == "doctor" and code == 12)  # what it finds depends on the machine


def expanded(words: list[str], folder: Path) -> list[str]:
    """Patterns without quotes, as a shell would expand them; `**` always stands in quotes."""
    found: list[str] = []
    for word in words:
        plain = "*" in word and "**" not in word
        found += sorted(str(path.relative_to(folder)) for path in folder.glob(word)) if plain else [word]
    return found


@cases("python -m training evaluate", "python -m training scores")
def test_scoring_runs(example: Example, scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = arguments(example)
    shipped(scratch)
    for name in words:
        if name.startswith("out/"):
            model(scratch / name)
        elif name.startswith(("Set", "FOLDER")):
            picture(scratch / name / "0.png", 96)
    picture(scratch / "data/photographs/holdout/0.png", 96)
    picture(scratch / "data/photographs/holdout/1.png", 104)
    assert train(words[2:]) == 0
    assert "| bicubic |" in capsys.readouterr().out


def stop(*_: Any, **__: Any) -> NoReturn:
    raise StoppedError


@cases("python -m training fit", "python -m training export", "torchrun")
def test_training_command_is_taken(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs last from a minute to days; tests/training runs them in small."""
    words = arguments(example)
    words = words[words.index("training") + 1 :]
    for name in ("fit", "restore"):  # everything before, reading the recipe included, is done
        monkeypatch.setattr(f"training.__main__.{name}", stop)
    monkeypatch.chdir(ROOT)
    with pytest.raises(StoppedError):
        train(words)


@cases("python -m benchmarks.", "python -m docs.", "python -m training.data.")
def test_module_takes_its_arguments(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    """They measure for minutes to hours, or download."""
    module, *rest = arguments(example)[1:]
    # "images|frames": each of them
    alternatives: list[list[str]] = [[word] for word in rest[0].split("|")] if rest else [[]]

    def parse(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> NoReturn:
        original(self, args, namespace)
        raise StoppedError

    original = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    for first in alternatives:
        monkeypatch.setattr(sys, "argv", [module, *first, *rest[1:]])
        with pytest.raises(StoppedError):
            # imported by another test already, it would run twice and warn
            importlib.import_module(module).main()


@cases("python -m pip", "pip install", "PYTHON -m pip")
def test_installation_names_extras_that_exist(example: Example) -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    words = shlex.split(example.line)
    for named in re.findall(r"\[([\w,-]+)\]", example.line):
        assert set(named.split(",")) <= extras
    assert words[words.index("pip") + 1] == "install"


@cases("python -m pytest", "python -m tests.", "CHAINNER_PATH", "python tests/", "python docs/", ".ci/run", "mkdocs")
def test_development_command_names_what_exists(example: Example) -> None:
    """Running tests by tests would not end. `mkdocs build` is run by test_site.py."""
    words = shlex.split(example.line)
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]["markers"]
    for word in words:
        if word.startswith(("tests/", "docs/", ".ci/")):
            assert (ROOT / word).exists()
        if word.startswith("tests."):
            module = ROOT / word.replace(".", "/")
            assert module.with_suffix(".py").exists() or (module / "__main__.py").exists()
    if words[:3] == ["python", "-m", "pytest"] and "-m" in words[3:]:
        assert words[words.index("-m", 3) + 1] in {marker.partition(":")[0] for marker in markers}


def test_trtexec_commands_are_those_that_we_print(
    scratch: Path, graph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = [item.line for item in EXAMPLES if item.line.startswith("trtexec")]
    provide(scratch, ["m_op18_fp16.onnx"], graph)
    assert main(["engine", "m_op18_fp16.onnx", "--commands"]) == 0
    printed = " ".join(capsys.readouterr().out.replace("\\\n", " ").split())
    assert len(shown) == 2
    for line in shown:
        assert line in printed


def test_every_example_is_tested() -> None:
    """A program that no test above knows would pass unseen."""
    known = (
        "paragonsr",
        "python -m deploy",
        "python -m training",
        "torchrun",
        "python -m benchmarks.",
        "python -m docs.",
        "python -m tests.",
    )
    known += ("python -m pip", "pip install", "PYTHON -m pip", "python -m pytest", "CHAINNER_PATH", "python tests/")
    known += ("python docs/", ".ci/run", "mkdocs", "trtexec", "python FOLDER/deploy", "PYTHON -m pytest")
    assert [item for item in EXAMPLES if not item.line.startswith(known)] == []
    assert len(EXAMPLES) > 80


@pytest.mark.parametrize(("name", "text"), list(synopses()))
def test_synopsis_and_parser_agree(name: str, text: str) -> None:
    """Every option in a synopsis of docs/cli.md exists."""
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= options(name)
