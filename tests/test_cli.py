"""The command line: what it prints, what it writes, and every exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

import paragon_arch
from deploy.cli import COMMANDS, build_parser, main
from deploy.exit_codes import MEANINGS, ExitCode, exit_code
from paragon_arch import errors
from paragon_engine.catalog import find_model, shipped_models
from paragon_engine.pictures import read_image
from tests.engine_models import checkpoint, state

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "2x_tiny.safetensors")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments])


def program(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_program_upscales_a_picture(model: Path, photo: Path) -> None:
    result = program("upscale", photo, "-o", photo.with_name("out.png"), "--model", model)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "v2-release" in result.stderr
    assert read_image(photo.with_name("out.png")).size == (60, 40)


def test_the_program_reports_errors_in_one_line(photo: Path) -> None:
    result = program("upscale", photo, "-o", photo.with_name("out.png"), "--model", "no_such_model")
    assert result.returncode == ExitCode.CHECKPOINT
    assert re.fullmatch(r"error: .*no_such_model.*\n", result.stderr)


@pytest.mark.parametrize("place", ["out.png", "out/"])
def test_a_damaged_model_writes_no_picture(
    place: str, tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights that are finite, and whose results are not: never a black picture."""
    weights = {key: tensor * 1e30 if tensor.is_floating_point() else tensor for key, tensor in state().items()}
    save_file(weights, tmp_path / "2x_bad.safetensors")
    (tmp_path / "in").mkdir()
    source = photo if place == "out.png" else photo.rename(tmp_path / "in/photo.png").parent
    expected = ExitCode.CHECKPOINT if place == "out.png" else ExitCode.PARTIAL
    model = tmp_path / "2x_bad.safetensors"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", paragon_arch.ParagonWarning)
        assert run("upscale", source, "-o", tmp_path / place, "--model", model, "--alpha", "0.3", "-q") == expected
    assert "photo.png: the model gives NaN or infinity even in fp32" in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*.png") if path.name != "photo.png"]
    assert not (tmp_path / "out.png").exists()


def test_shipped_models_have_names_wherever_a_model_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = shipped_models()[0].path.stem, tmp_path / "out.safetensors"
    assert run("inspect", name) == ExitCode.OK
    assert "v2-release" in capsys.readouterr().out
    assert run("release", name, "-o", tmp_path / "release", "--dry-run") == ExitCode.OK
    assert run("fuse", name, "-o", out, "-q") == ExitCode.OK
    for arguments in (
        ("inspect", "x"),
        ("fuse", "x", "-o", out, "--overwrite"),
        ("calibrate", "x", tmp_path, "-o", out, "--overwrite"),
        ("export", "x", "-o", tmp_path),
        ("release", "x", "-o", tmp_path / "release"),
        ("verify", out, "--against", "x"),
        ("verify", "x", "--against", name),
        ("compare", "x", name),
        ("compare", name, "x"),
        ("quantize", "x", "--calibration", tmp_path, "-o", tmp_path / "q.onnx"),
        ("benchmark", "x"),
        ("upscale", "a.png", "-o", "b.png", "--model", "x"),
    ):
        Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
        given = [tmp_path / part if part in ("a.png", "b.png") else part for part in arguments]
        assert run(*given) == ExitCode.CHECKPOINT, arguments
        assert f"no model of this name ships (those that do: {name}" in capsys.readouterr().err, arguments


def test_debugging_shows_where_an_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAGONSR_DEBUG", "1")
    with pytest.raises(errors.ImageError):
        run("upscale", "missing.png", "-o", "out.png")


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from deploy.cli import build_parser; build_parser().format_help(); print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_interrupting_leaves_nothing_half_written(tmp_path: Path, model: Path) -> None:
    Image.effect_noise((1500, 1500), 80).convert("RGB").save(tmp_path / "large.png")
    command = [sys.executable, "-m", "deploy", "upscale", tmp_path / "large.png", "-o", tmp_path / "out.png"]
    options = ["--model", model, "--tile", "32"]
    with subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the line that names the model: work is about to begin
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert process.returncode == ExitCode.CANCELLED
    assert "error: stopped" in message
    assert "Traceback" not in message
    assert {path.name for path in tmp_path.iterdir()} == {"large.png", model.name}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_option_is_explained(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(command.name, "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "%(prog)s" not in text
    for option in set(re.findall(r"(?<=[ \[])--[a-z-]+", text.split("options:")[0])):
        assert re.search(rf"^ +(-\w( \w+)?, )?{option}\b.*", text, re.MULTILINE), option


def test_every_module_is_a_command_with_a_chapter(root: Path) -> None:
    modules = {path.stem for path in (root / "deploy" / "commands").glob("*.py")} - {"__init__"}
    assert {command.run.__module__.rpartition(".")[2] for command in COMMANDS} == modules
    manual = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    headings = " ".join(line for line in manual.splitlines() if line.startswith("## "))
    assert [command.name for command in COMMANDS if command.name not in headings] == []
    assert [command.name for command in COMMANDS if f"paragonsr {command.name} " not in manual] == []


def test_exit_codes_stand_in_help_and_manual() -> None:
    manual = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    text = build_parser().format_help()
    for code, meaning in MEANINGS.items():
        assert f"{code.value:>3}  {meaning}" in text
        assert f"| {code.value} | {meaning} |" in manual
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnsafeCheckpointError("x"), 3),
        (errors.StateMismatchError("x"), 4),
        (errors.AmbiguousValueError("x", option="scale"), 5),
        (errors.ImageError("x"), 6),
        (errors.OutputExistsError("x"), 7),
        (errors.FusionError("x"), 8),
        (errors.CancelledError("x"), 130),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 1),
        (ZeroDivisionError(), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    "arguments",
    [(), ("dance",), ("upscale",), ("upscale", "a", "-o", "b", "--tile", "x"), ("inspect", "a", "--scale", "0")],
)
def test_wrong_usage_is_two(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == ExitCode.USAGE


def test_inspect_prints_what_is_known_and_how(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", model) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in captured.out.splitlines()[1:])
    assert lines["layout"] == "v2-release (ParagonSR2)"
    assert lines["variant"] == "realtime"
    assert lines["scale"] == "2  (proved by the tensors)"
    assert lines["alpha"] == "0.3  (default of the layout)"
    assert lines["receptive field"] == "7 pixels around each"
    assert lines["state"] == "nothing to fuse"


def test_inspect_json_is_one_object_a_file(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"")
    assert run("inspect", "--json", "--alpha", "0.5", tmp_path / "bad.safetensors", model) == ExitCode.CHECKPOINT
    captured = capsys.readouterr()
    bad, good = json.loads(captured.out)
    assert bad["error"]["exit_code"] == 3
    assert bad["error"]["type"] == "CorruptCheckpointError"
    assert "bad.safetensors" in captured.err
    assert good["layout"] == "v2-release"
    assert good["values"]["alpha"] == {"value": 0.5, "source": "override", "note": good["values"]["alpha"]["note"]}
    assert isinstance(good["parameters"], int)
    assert set(bad) == {"file", "error"}
    assert {"file", "variant", "fused", "dtype", "receptive_field", "problems", "ambiguous"} <= set(good)


def test_inspect_lists_several_files_in_one_table(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = checkpoint(tmp_path / "3x_wide.safetensors", scale=3, num_feat=24)
    assert run("inspect", model, other) == 0
    head, first, second = capsys.readouterr().out.splitlines()[:3]
    assert [head.index(word) for word in ("FILE", "LAYOUT", "SCALE")] == sorted(
        head.index(word) for word in ("FILE", "LAYOUT", "SCALE")
    )
    assert first[head.index("SCALE")] == "2"
    assert second[head.index("SCALE")] == "3"
    assert "custom" in second


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("missing.safetensors", None, ExitCode.CHECKPOINT),
        ("empty.pth", b"", ExitCode.CHECKPOINT),
        ("text.safetensors", b"hello world, this is text", ExitCode.CHECKPOINT),
    ],
)
def test_unusable_checkpoints(tmp_path: Path, name: str, content: bytes | None, code: int) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run("inspect", tmp_path / name) == code


def test_foreign_and_mismatched_checkpoints(tmp_path: Path) -> None:
    save_file({"layer.weight": torch.zeros(3, 3)}, tmp_path / "foreign.safetensors")
    tensors = state()
    del tensors["conv_mid.bias"]
    save_file(tensors, tmp_path / "mismatch.safetensors")
    assert run("inspect", tmp_path / "foreign.safetensors") == ExitCode.LAYOUT
    assert run("inspect", tmp_path / "mismatch.safetensors") == ExitCode.LAYOUT


def test_an_override_that_the_tensors_disprove(model: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photo.with_name("out.png")
    assert run("upscale", photo, "-o", out, "--model", model, "--scale", "4") == ExitCode.OPTION
    assert "scale" in capsys.readouterr().err
    assert not out.exists()


def test_an_ambiguous_scale_asks_for_the_option(
    model: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ambiguous(*_: Any, **__: Any) -> None:
        raise errors.AmbiguousValueError("the file does not say its scale", option="scale", candidates=(2, 4))

    monkeypatch.setattr(paragon_arch, "load", ambiguous)
    assert run("upscale", photo, "-o", photo.with_name("out.png"), "--model", model) == ExitCode.OPTION
    error = capsys.readouterr().err
    assert error == "error: the file does not say its scale (give --scale; likeliest first: 2, 4)\n"


def test_fuse_writes_a_checkpoint_with_hints(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "fused.safetensors"
    assert run("fuse", model, "-o", out, "--alpha", "0.7") == 0
    report = paragon_arch.inspect(out)
    assert (report.values["alpha"].value, report.values["alpha"].source) == (0.7, "hint")
    assert run("fuse", model, "-o", out) == ExitCode.OUTPUT
    assert run("fuse", model, "-o", out, "--overwrite", "--no-hint-tensors") == 0
    assert set(load_file(out)) == set(load_file(model))


def test_fuse_refuses_other_formats_and_its_own_input(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    assert run("fuse", model, "-o", tmp_path / "fused.pth") == ExitCode.OUTPUT
    assert run("fuse", model, "-o", model, "--overwrite") == ExitCode.OUTPUT
    assert model.read_bytes() == before


def test_untracked_dynamic_kernels_need_consent(shared: Path, tmp_path: Path) -> None:
    tensors = load_file(shared / "checkpoints" / "2xParagonSR2_Nano_Pretrain.safetensors")
    for key in [key for key in tensors if "tracked" in key]:
        tensors[key] = torch.zeros_like(tensors[key])
    save_file(tensors, tmp_path / "2x_untracked.safetensors")
    arguments = ("fuse", tmp_path / "2x_untracked.safetensors", "-o", tmp_path / "out.safetensors")
    assert run(*arguments) == ExitCode.FUSION
    assert not (tmp_path / "out.safetensors").exists()
    assert run(*arguments, "--accept-identity-kernel") == 0
    assert paragon_arch.inspect(tmp_path / "out.safetensors").fused


def test_the_real_checkpoint_is_inspected_fused_and_run(shared: Path, tmp_path: Path, photo: Path) -> None:
    real = shared / "checkpoints" / "2xParagonSR2_Nano_Pretrain.safetensors"
    assert run("fuse", real, "-o", tmp_path / "fused.safetensors") == 0
    for model, name in ((real, "a.png"), (tmp_path / "fused.safetensors", "b.png")):
        assert run("upscale", photo, "-o", tmp_path / name, "--model", model, "--quiet") == 0
    difference = read_image(tmp_path / "a.png").pixels - read_image(tmp_path / "b.png").pixels
    assert np.abs(difference).max() <= 1.01 / 255


def test_upscale_options_reach_the_engine(model: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photo.with_name("out.webp")
    options = ("--outscale", "1.5", "--tile", "32", "--tiling", "overlap", "--overlap", "8", "--device", "cpu")
    assert run("upscale", photo, "-o", out, "--model", model, *options) == 0
    assert read_image(out).size == (45, 30)
    assert "written in" in capsys.readouterr().err


def test_quiet_says_nothing(model: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = model.rename(model.with_name("2x_named.safetensors"))
    assert run("upscale", photo, "-o", photo.with_name("o.png"), "--model", named, "--alpha", "0.3", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_an_output_folder_takes_a_single_picture(model: Path, photo: Path) -> None:
    folder = photo.with_name("results")
    folder.mkdir()
    assert run("upscale", photo, "-o", folder, "--model", model) == 0
    assert read_image(folder / "photo.png").size == (60, 40)


@pytest.mark.parametrize(
    ("picture", "output", "options", "code"),
    [
        ("missing.png", "out.png", (), ExitCode.IMAGE),
        ("bad.png", "out.png", (), ExitCode.IMAGE),
        ("photo.png", "out.gif", (), ExitCode.OUTPUT),
        ("photo.png", "no/such/folder/out.png", (), ExitCode.OUTPUT),
        ("photo.png", "taken.png", (), ExitCode.OUTPUT),
        ("photo.png", "photo.png", ("--overwrite",), ExitCode.OUTPUT),
        ("photo.png", "out.png", ("--device", "warp9"), ExitCode.OPTION),
        ("photo.png", "out.png", ("--outscale", "1000"), ExitCode.OPTION),
        ("photo.png", "out.png", ("--tile", "2"), ExitCode.OPTION),
        ("photo.png", "out.png", ("--window-size", "8"), ExitCode.OPTION),
    ],
)
def test_upscale_errors_write_nothing(
    model: Path, photo: Path, picture: str, output: str, options: tuple[str, ...], code: int
) -> None:
    folder = photo.parent
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "taken.png").write_text("mine")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run("upscale", folder / picture, "-o", folder / output, "--model", model, *options) == code
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_with_a_bad_file_is_nine_and_the_rest_is_done(
    model: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = photo.with_name("in"), photo.with_name("out")
    source.mkdir()
    photo.rename(source / "good.png")
    (source / "bad.jpg").write_bytes(b"no picture")
    assert run("upscale", source, "-o", target, "--model", model) == ExitCode.PARTIAL
    error = capsys.readouterr().err
    assert "error: " in error
    assert "bad.jpg" in error
    assert "1 upscaled, 0 skipped (exist already), 1 failed" in error
    assert [path.name for path in target.iterdir()] == ["good.png"]
    (source / "bad.jpg").unlink()
    assert run("upscale", source, "-o", target, "--model", model) == 0
    assert "0 upscaled, 1 skipped" in capsys.readouterr().err


def test_out_of_memory_is_one_clear_line(
    model: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(*_: Any, **__: Any) -> None:
        raise MemoryError("out of memory on cpu, even with tiles of 32 pixels")

    monkeypatch.setattr(paragon_arch, "load", exhausted)
    assert run("upscale", photo, "-o", photo.with_name("o.png"), "--model", model) == ExitCode.UNEXPECTED
    assert capsys.readouterr().err == "error: out of memory on cpu, even with tiles of 32 pixels\n"


def catalogue(folder: Path, **changes: Any) -> Path:
    import hashlib

    path = checkpoint(folder / "2x_shipped.safetensors")
    record = {"title": "T", "scale": 2, "layout": "v2-release", "variant": "realtime", "license": "MIT", "card": "c.md"}
    record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    data = {"default": path.name, "models": {path.name: record | changes}}
    (folder / "catalog.json").write_text(json.dumps(data), encoding="utf-8")
    return path


def test_the_catalogue_finds_the_default_and_names(tmp_path: Path) -> None:
    path = catalogue(tmp_path)
    assert [model.default for model in shipped_models(tmp_path)] == [True]
    assert find_model(folder=tmp_path) == path
    assert find_model("2x_shipped", folder=tmp_path) == path
    with pytest.raises(errors.CheckpointNotFoundError, match="2x_shipped"):
        find_model("other", folder=tmp_path)


def test_a_shipped_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    catalogue(tmp_path, sha256="0" * 64)
    with pytest.raises(errors.CorruptCheckpointError, match="sha256"):
        find_model(folder=tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"default": "x"}', '{"default": "x", "models": {"x": {}}}'])
def test_a_damaged_catalogue_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "catalog.json").write_text(text, encoding="utf-8")
    with pytest.raises(errors.CorruptCheckpointError, match=r"catalog\.json"):
        shipped_models(tmp_path)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp932"])
def test_standard_output_never_raises(encoding: str, tmp_path: Path) -> None:
    name = checkpoint(tmp_path / "2x_\u30a2\u00e9\u0416.safetensors")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "deploy", "inspect", str(name)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode(encoding)
    assert name.name in shown or "\\u" in shown


def test_a_program_without_a_console_writes_nothing(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert run("inspect", model, "-q") == 0


@pytest.mark.parametrize("output", ["new/", "new", "new/deeper/"])
def test_one_picture_into_a_new_folder(model: Path, photo: Path, output: str) -> None:
    target = f"{photo.parent}/{output}"
    assert run("upscale", photo, "-o", target, "--model", model, "--format", "jpg") == 0
    assert [path.name for path in Path(target).iterdir()] == ["photo.jpg"]


def test_no_folder_is_made_for_nothing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert run("upscale", tmp_path / "bad.png", "-o", f"{tmp_path}/new/", "--model", model) == 6
    assert not (tmp_path / "new").exists()


def test_a_report_may_hold_any_name(model: Path, photo: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"odd\xff.png")
    try:
        odd.write_bytes(photo.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    assert run("upscale", odd, "-o", tmp_path / "out", "--model", model, "--report", tmp_path / "r.html") == 0
    assert "odd" in (tmp_path / "r.html").read_text(encoding="utf-8")
