"""Releases: complete, proved, the same bytes every time, and never half-made."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest

import tests.release.killing as killing
from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_arch.errors import InvalidOptionError, OutputExistsError, QualityError
from paragon_engine.release import export as exporting
from paragon_engine.release import steps
from paragon_engine.release.artefacts import file_sha256
from paragon_engine.release.run import plan, release
from paragon_engine.release.settings import KEYS, ReleaseSettings, read_manifest
from tests.engine_models import checkpoint
from tests.release.killing import content, kill_and_repeat, settings


def corrupted(graph: bytes) -> bytes:
    """The graph with one weight changed: a step of the export that went wrong."""
    model: Any = onnx.load_from_string(graph)
    weight: Any = next(item for item in model.graph.initializer if len(item.dims) == 4)
    array: Any = cast("Any", onnx.numpy_helper.to_array(weight)).copy()
    array.flat[0] += np.asarray(1.0, array.dtype)
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    return model.SerializeToString()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ReleaseSettings:
    """A finished release."""
    folder = tmp_path_factory.mktemp("whole")
    chosen = replace(settings(folder, folder / "out"), speed=False)
    release(chosen)
    return chosen


def test_everything_is_there_and_described(whole: ReleaseSettings) -> None:
    manifest = json.loads((whole.output / "manifest.json").read_text())
    names = {path.name for path in whole.output.iterdir()}
    assert names == {*manifest["files"], "manifest.json"}
    assert {"2x_tiny_fused.safetensors", "2x_tiny_op18_fp32.onnx", "2x_tiny_op18_fp16.onnx", "2x_tiny.md"} <= names
    for name, item in manifest["files"].items():
        assert item["sha256"] == file_sha256(whole.output / name)
    assert manifest["failed"] == {}
    assert manifest["model"]["source_sha256"] == file_sha256(whole.checkpoint)


def test_the_card_has_the_figures(whole: ReleaseSettings) -> None:
    text = (whole.output / "2x_tiny.md").read_text()
    manifest = json.loads((whole.output / "manifest.json").read_text())
    for step in ("fp32", "fp16"):
        found = manifest["steps"][step]
        assert f"`{found['file']}`" in text
        assert f"{found['verification']['psnr']:.3g} dB" in text
    assert "trtexec" in text
    for name in manifest["steps"]["samples"]["files"]:
        assert f"]({name})" in text


def test_graphs_carry_their_facts(whole: ReleaseSettings) -> None:
    model: Any = onnx.load(str(whole.output / "2x_tiny_op18_fp16.onnx"))
    facts = {item.key.removeprefix("paragonsr."): item.value for item in model.metadata_props}
    expected = {"scale": "2", "precision": "fp16", "opset": "18", "value_range": "0..1", "colour_order": "RGB"}
    assert expected.items() <= facts.items()
    assert {"architecture", "layout", "variant", "alpha", "window", "tiling", "exporter", "versions"} <= facts.keys()
    assert {"calibration", "parity", "parity_pictures", "license", "author", "date"} <= facts.keys()
    assert facts["source_sha256"] == file_sha256(whole.checkpoint)


def test_a_second_run_does_nothing(whole: ReleaseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "fuse", None)  # would fail if it were called
    assert not release(whole).fresh


def test_another_folder_gets_the_same_bytes(whole: ReleaseSettings, tmp_path: Path) -> None:
    again = replace(whole, output=tmp_path / "again")
    release(again)
    assert content(again.output) == content(whole.output)


def power_cut(*_: object) -> None:
    raise KeyboardInterrupt


def release_until_power_cut(chosen: ReleaseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """All graphs are made, the engines' commands are not."""
    with monkeypatch.context() as patch:
        patch.setattr(steps, "engines", power_cut)
        with pytest.raises(KeyboardInterrupt):
            release(chosen)


def test_going_on_repeats_no_finished_step(
    whole: ReleaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(whole, output=tmp_path / "out")

    release_until_power_cut(chosen, monkeypatch)
    assert not chosen.output.exists()
    for name in ("fuse", "fp32", "fp16"):
        monkeypatch.setattr(steps, name, power_cut)
    release(chosen)
    assert content(chosen.output) == content(whole.output)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_damaged_step_is_done_again(whole: ReleaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = replace(whole, output=tmp_path / "out")

    release_until_power_cut(chosen, monkeypatch)
    (tmp_path / ".out.release" / "2x_tiny_op18_fp16.onnx").write_bytes(b"torn")
    release(chosen)
    assert content(chosen.output) == content(whole.output)


def test_a_wrong_fp32_graph_releases_nothing(
    whole: ReleaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = exporting.export_fp32

    def wrong(*arguments: Any) -> tuple[bytes, str]:
        return corrupted(original(*arguments)[0]), "corrupted"

    monkeypatch.setattr(steps, "export_fp32", wrong)
    with pytest.raises(QualityError, match="largest difference"):
        release(replace(whole, output=tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []
    arguments = ["release", str(whole.checkpoint), "-o", str(tmp_path / "out"), "--quiet", "--no-speed"]
    assert main([*arguments, "--pictures", str(whole.pictures[0])]) == ExitCode.VERIFICATION
    assert list(tmp_path.iterdir()) == []


def test_without_fp16_if_that_is_wrong(
    whole: ReleaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = exporting.export_half

    def wrong(*arguments: Any) -> tuple[bytes, str]:
        return corrupted(original(*arguments)[0]), "corrupted"

    monkeypatch.setattr(steps, "export_half", wrong)
    out = tmp_path / "out"
    arguments = ["release", str(whole.checkpoint), "-o", str(out), "--quiet", "--no-speed", "--json"]
    assert main([*arguments, "--pictures", str(whole.pictures[0])]) == ExitCode.INCOMPLETE
    assert "PSNR" in json.loads(capsys.readouterr().out)[0]["manifest"]["failed"]["fp16"]
    assert not list(out.glob("*fp16*"))
    assert "No ONNX, FP16 file" in (out / "2x_tiny.md").read_text()


def test_foreign_files_are_safe(whole: ReleaseSettings, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("precious")
    with pytest.raises(OutputExistsError):
        release(replace(whole, output=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_damaged_release_is_not_taken_for_finished(whole: ReleaseSettings, tmp_path: Path) -> None:
    shutil.copytree(whole.output, tmp_path / "out")
    (tmp_path / "out" / "2x_tiny.md").write_text("changed")
    with pytest.raises(OutputExistsError):
        release(replace(whole, output=tmp_path / "out"))


@pytest.mark.skipif(not hasattr(killing.os, "fork"), reason="needs fork")
@pytest.mark.parametrize("delay", [0.7, 2.5])
def test_killed_releases_end_the_same(delay: float, whole: ReleaseSettings, tmp_path: Path) -> None:
    chosen = replace(whole, output=tmp_path / "out")
    kill_and_repeat(chosen, delay)
    assert content(chosen.output) == content(whole.output)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_dry_run_makes_nothing(whole: ReleaseSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["release", str(whole.checkpoint), "-o", str(out), "--dry-run"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert all(name in text for name in plan(whole))
    assert not out.exists()


def test_a_manifest_of_many(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a.safetensors")
    text = """
    [defaults]
    author = "Jane"
    speed = false
    [[model]]
    checkpoint = "a.safetensors"
    scale = 2
    pictures = ["photos"]
    [[model]]
    checkpoint = "a.safetensors"
    name = "b"
    precisions = ["fp32"]
    profile = {opt = [540, 960]}
    """
    (tmp_path / "many.toml").write_text(text)
    first, second = read_manifest(tmp_path / "many.toml", tmp_path / "out")
    assert first.checkpoint == tmp_path / "a.safetensors"
    assert (first.output, second.output) == (tmp_path / "out" / "a", tmp_path / "out" / "b")
    assert first.pictures == (tmp_path / "photos",)
    assert first.overrides == {"scale": 2}
    assert second.export.credits.author == "Jane"
    assert second.export.precisions == ("fp32",)
    assert second.profile.opt == (540, 960)
    assert not second.speed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[[model]]\n",
        '[[model]]\ncheckpoint = "a"\ncolour = 1\n',
        '[[model]]\ncheckpoint = "a"\nscale = "2"\n',
        '[[model]]\ncheckpoint = "a"\nname = "../b"\n',
        '[[model]]\ncheckpoint = "a"\nprecisions = ["int4"]\n',
        '[[model]]\ncheckpoint = "a"\nprofile = {opt = 3}\n',
        '[[model]]\ncheckpoint = "a"\n[[model]]\ncheckpoint = "a"\n',
    ],
)
def test_manifests_that_make_no_sense(text: str, tmp_path: Path) -> None:
    (tmp_path / "many.toml").write_text(text)
    with pytest.raises(InvalidOptionError):
        read_manifest(tmp_path / "many.toml", tmp_path)


def test_the_manual_explains_every_key() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")
    for key, meaning in KEYS.items():
        assert f"| `{key}` | {meaning} |" in manual
