"""From a checkpoint and pictures to a graph that passed, or to none."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import paragon_arch
from paragon_arch.errors import ImageError, InvalidOptionError, OutputError, OutputExistsError, QualityError
from paragon_engine.onnx_export import inferred_scale
from paragon_engine.quantize import QuantizationOptions, QuantizationReport, markdown, quantize, svg
from paragon_engine.quantize import run as run_module
from paragon_engine.quantize.loss import runner


def run(path: Path, shape: tuple[int, ...], *, integers: bool = True) -> NDArray[np.float32]:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    return runner(path.read_bytes(), integers=integers)(image)


@pytest.fixture(scope="module")
def made(
    model: Path, pictures: Path, quick: QuantizationOptions, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, QuantizationReport]:
    """An INT8 graph of the shipped model with its speed, and its report."""
    out = tmp_path_factory.mktemp("made") / "int8.onnx"
    options = replace(quick, benchmark=True, runs=2, size=32)
    return out, quantize(model, pictures, out, options=options)


def test_shipped_model_passes(made: tuple[Path, QuantizationReport]) -> None:
    out, report = made
    assert report.passed
    assert report.written == out
    assert report.loss_db <= 0.25
    assert report.quantized_work > 0.3
    assert {layer.precision for layer in report.layers} <= {"int8", "fp32"}
    assert sum(layer.work for layer in report.layers) <= 1


def test_graph_runs_at_any_size_and_shows_its_scale(made: tuple[Path, QuantizationReport]) -> None:
    assert run(made[0], (1, 3, 17, 23)).shape == (1, 3, 34, 46)
    assert run(made[0], (2, 3, 40, 8)).shape == (2, 3, 80, 16)
    assert inferred_scale(made[0].read_bytes(), 64) == 2


def test_speed_is_measured_in_every_runtime_that_is_here(made: tuple[Path, QuantizationReport]) -> None:
    report = made[1]
    assert {speed.backend for speed in report.speeds} | set(report.unmeasured) == {"onnxruntime", "openvino"}
    assert report.speed_ratio is not None
    assert all(speed.fp32 > 0 and speed.quantized > 0 for speed in report.speeds)
    assert ("does not pay" in report.verdict) == (not report.pays)


def test_measured_pictures_were_not_calibrated_on(made: tuple[Path, QuantizationReport]) -> None:
    report = made[1]
    assert [picture.name for picture in report.pictures] == ["d.png"]
    assert report.calibration["pictures"] == 4


def test_second_run_uses_the_cache_and_gives_equal_bytes(
    made: tuple[Path, QuantizationReport], model: Path, pictures: Path, quick: QuantizationOptions, tmp_path: Path
) -> None:
    report = quantize(model, pictures, tmp_path / "again.onnx", options=quick)
    assert report.calibration["cached"]
    assert (tmp_path / "again.onnx").read_bytes() == made[0].read_bytes()


def test_report_as_json_document_and_plot(made: tuple[Path, QuantizationReport]) -> None:
    report = made[1]
    assert json.loads(json.dumps(report.to_dict()))["written"] == "int8.onnx"
    text = markdown(report, plot="layers.svg")
    assert all(layer.name in text for layer in report.layers)
    assert "(layers.svg)" in text
    bars = [item for item in ET.fromstring(svg(report)).iter() if item.tag.endswith("text")]
    assert {layer.name for layer in report.layers} <= {item.text for item in bars}


def test_target_out_of_reach_writes_nothing(
    model: Path, pictures: Path, quick: QuantizationOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "int8.onnx"
    monkeypatch.setattr(run_module, "LEAST_WORK", 0.95)  # else a harmless layer or two reach any target
    report = quantize(model, pictures, out, options=replace(quick, target_db=1e-7))
    assert not report.passed
    assert not list(tmp_path.iterdir())
    with pytest.raises(QualityError, match="not written"):
        report.raise_if_failed()


def test_layers_can_be_kept(model: Path, pictures: Path, quick: QuantizationOptions, tmp_path: Path) -> None:
    report = quantize(model, pictures, tmp_path / "int8.onnx", options=replace(quick, keep=("shallow", "end")))
    assert not any(layer.name.startswith(("shallow", "end")) for layer in report.layers)
    with pytest.raises(InvalidOptionError, match="names no layer; the layers are shallow"):
        quantize(model, pictures, tmp_path / "int8.onnx", options=replace(quick, keep=("nonsense",)))


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_methods(method: str, model: Path, pictures: Path, quick: QuantizationOptions, tmp_path: Path) -> None:
    options = replace(quick, method=method, percentile=99.9, keep=("deep",))
    report = quantize(model, pictures, tmp_path / "int8.onnx", options=options)
    assert report.method == method
    assert not report.calibration["cached"]
    assert report.passed


def test_16_bit_activations(model: Path, pictures: Path, quick: QuantizationOptions, tmp_path: Path) -> None:
    options = replace(quick, fallback="int16", target_db=0.02)
    report = quantize(model, pictures, tmp_path / "mixed.onnx", options=options)
    assert report.passed
    assert "int16" in {layer.precision for layer in report.layers}
    assert run(tmp_path / "mixed.onnx", (1, 3, 9, 11)).shape == (1, 3, 18, 22)


def test_fp8(model: Path, pictures: Path, quick: QuantizationOptions, tmp_path: Path) -> None:
    options = replace(quick, kind="fp8", target_db=3.0, target_ssim=0.1)
    report = quantize(model, pictures, tmp_path / "fp8.onnx", options=options)
    assert report.passed, report.reason
    assert "fp8" in {layer.precision for layer in report.layers}
    assert run(tmp_path / "fp8.onnx", (1, 3, 17, 8), integers=False).shape == (1, 3, 34, 16)


def test_loaded_models_and_lists_of_pictures(
    model: Path, pictures: Path, quick: QuantizationOptions, tmp_path: Path
) -> None:
    options = replace(quick, keep=("deep", "end"), holdout=pictures)
    paths = sorted(pictures.iterdir())[:2]
    with pytest.raises(ImageError, match="no pictures"):
        quantize(paragon_arch.load(model), paths, tmp_path / "a.onnx", options=options)  # all of them are held out
    report = quantize(paragon_arch.load(model), paths, tmp_path / "a.onnx", options=replace(options, holdout=None))
    assert len(report.pictures) == 1


def test_existing_files_and_wrong_names_are_refused(model: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    out.write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        quantize(model, pictures, out)
    with pytest.raises(OutputError, match=r"\*\.onnx"):
        quantize(model, pictures, tmp_path / "int8.bin")
    assert out.read_bytes() == b"precious"


def test_a_single_picture_is_too_few(model: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="single picture"):
        quantize(model, [pictures / "a.png"], tmp_path / "int8.onnx")


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "int4"}, {"method": "guess"}, {"percentile": 10.0}, {"samples": 0}, {"crop": 8}, {"target_db": 0.0}],
)
def test_wrong_options(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidOptionError):
        QuantizationOptions(**wrong)  # pyright: ignore[reportArgumentType]
