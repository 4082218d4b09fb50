"""Verification: what passes, and everything that must not."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch

from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_arch.errors import InvalidOptionError, UnsafeCheckpointError
from paragon_engine.onnx_export import export_onnx, read_graph
from paragon_engine.release.artefacts import Artefact, graph_artefact, network_artefact, open_artefact
from paragon_engine.release.pictures import ODD_SIZES, PictureSet, photographs, picture_files, reduced
from paragon_engine.release.verify import LIMITS, limits_for, verify
from tests.engine_models import checkpoint, network


def test_a_network_equals_itself(reference: Artefact, photos: PictureSet) -> None:
    report = verify(network_artefact(network(), name="same"), reference, photos)
    assert report.passed
    assert report.max_abs == 0
    assert report.loss_db == 0
    assert len(report.results) == len(photos.photos) + len(ODD_SIZES)
    assert {(8, 513), (17, 23), (61, 5)} <= {item.size for item in report.results}


def test_another_network_fails(reference: Artefact, photos: PictureSet) -> None:
    report = verify(network_artefact(network(seed=1), name="other"), reference, photos)
    assert not report.passed
    assert "largest difference" in report.failures[0]


@pytest.mark.parametrize(("changes", "word"), [({"psnr": 140.0}, "PSNR"), ({"loss_db": 1e-9}, "loss")])
def test_limits(changes: dict[str, float], word: str, reference: Artefact, photos: PictureSet) -> None:
    noisy = network(seed=0)
    with torch.no_grad():
        noisy.conv_in.weight.add_(1e-3)
    limits = limits_for("int8", **changes)
    report = verify(network_artefact(noisy, name="noisy"), reference, photos, limits=limits)
    assert report.passed or word in " ".join(report.failures)
    assert not report.passed or (report.loss_db is not None and report.loss_db <= 0)


def test_defaults_are_those_of_the_manual() -> None:
    assert LIMITS["fp32"].max_abs == 1e-4
    assert (LIMITS["fp16"].psnr, LIMITS["fp16"].loss_db) == (60.0, 0.01)
    assert LIMITS["int8"].loss_db == 0.25
    with pytest.raises(InvalidOptionError, match="fp32, fp16"):
        limits_for("int4")


def test_nan_fails(reference: Artefact, photos: PictureSet) -> None:
    broken = network()
    with torch.no_grad():
        broken.conv_out.weight.fill_(float("nan"))
    report = verify(network_artefact(broken, name="nan"), reference, photos)
    assert report.failures == ["an output is NaN or infinite"]
    assert json.dumps(report.to_dict())  # which knows no infinity


def test_another_scale_is_refused(reference: Artefact, photos: PictureSet) -> None:
    with pytest.raises(InvalidOptionError, match="scale 3"):
        verify(network_artefact(network(scale=3), name="3x"), reference, photos)


def test_a_graph_of_one_size_is_given_only_that(reference: Artefact, photos: PictureSet) -> None:
    graph = export_onnx(network(), dynamic=False, size=(20, 36))
    report = verify(graph_artefact(graph, name="fixed"), reference, photos)
    assert report.passed
    assert {item.size for item in report.results} == {(20, 36)}


def test_a_video_graph_is_given_other_features(reference: Artefact, photos: PictureSet) -> None:
    graph = export_onnx(network(), video=True)
    assert verify(graph_artefact(graph, name="video"), reference, photos).passed
    other = export_onnx(network(seed=1), video=True)
    assert not verify(graph_artefact(other, name="video"), reference, photos).passed


def test_scale_one_has_no_ground_truth(photos: PictureSet) -> None:
    reference = network_artefact(network(scale=1), name="1x")
    report = verify(reference, reference, photos, limits=LIMITS["int8"])
    assert report.loss_db is None
    assert report.passed
    other = verify(network_artefact(network(scale=1, seed=1), name="other"), reference, photos, limits=LIMITS["int8"])
    assert "PSNR" in other.failures[0]


def test_the_command(tmp_path: Path, model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_onnx(network(), tmp_path / "good.onnx")
    export_onnx(network(seed=1), tmp_path / "bad.onnx")
    options = ["--against", str(model), "--pictures", str(folder), "--alpha", "0.3", "--quiet"]
    assert main(["verify", str(tmp_path / "good.onnx"), *options]) == ExitCode.OK
    assert "passed" in capsys.readouterr().out
    files = [str(tmp_path / name) for name in ("good.onnx", "bad.onnx")]
    assert main(["verify", *files, *options, "--json"]) == ExitCode.VERIFICATION
    reports = json.loads(capsys.readouterr().out)
    assert [item["passed"] for item in reports] == [True, False]
    assert reports[0]["pictures"] == "2 photographs"


def test_a_checkpoint_can_be_verified_too(tmp_path: Path, model: Path) -> None:
    checkpoint(tmp_path / "2x_other.safetensors", seed=1)
    opened = open_artefact(tmp_path / "2x_other.safetensors", alpha=0.3)
    assert opened.sha256 != open_artefact(model, alpha=0.3).sha256


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    loaded = onnx.load_from_string(export_onnx(network()))
    onnx.save(loaded, str(tmp_path / "m.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(UnsafeCheckpointError, match="other files"):
        read_graph(tmp_path / "m.onnx")


def test_generated_pictures_are_always_the_same() -> None:
    assert photographs().sha256 == photographs().sha256
    assert "generated" in photographs().description


def test_pictures_are_found_and_cut(folder: Path) -> None:
    assert [path.name for path in picture_files([folder])] == ["0.png", "1.png"]
    found = photographs([folder], crop=40)
    assert found.photos[0].pixels.shape == (1, 3, 40, 40)
    small, truth = reduced(found.photos[0].pixels, 3)
    assert (small.shape[2:], truth.shape[2:]) == ((13, 13), (39, 39))
