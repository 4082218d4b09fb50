"""The command: what it prints, writes and returns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_engine.quantize import QuantizationOptions


@pytest.fixture
def arguments(model: Path, pictures: Path, quick: QuantizationOptions) -> list[str]:
    few = ["--samples", "6", "--crop", "40", "--no-benchmark", "--cache", str(quick.cache)]
    return ["quantize", str(model), "--calibration", str(pictures), "-q", *few]


def test_graph_report_and_plot(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, text, plot = tmp_path / "int8.onnx", tmp_path / "report.md", tmp_path / "layers.svg"
    code = main([*arguments, "-o", str(out), "--json", "--markdown", str(text), "--plot", str(plot)])
    assert code == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert report["written"] == out.name
    assert out.stat().st_size > 0
    assert "layers.svg" in text.read_text(encoding="utf-8")
    assert plot.read_text(encoding="utf-8").startswith("<svg")


def test_missed_target_has_its_exit_code(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "int8.onnx"
    assert main([*arguments, "-o", str(out), "--max-loss", "1e-7", "--keep", "deep"]) == ExitCode.VERIFICATION
    assert not out.exists()
    printed = capsys.readouterr()
    assert "not written" in printed.out
    assert "error: the int8 graph is not written" in printed.err


def test_existing_report_is_refused_before_the_work(arguments: list[str], tmp_path: Path) -> None:
    plot = tmp_path / "layers.svg"
    plot.write_text("mine")
    assert main([*arguments, "-o", str(tmp_path / "int8.onnx"), "--plot", str(plot)]) == ExitCode.OUTPUT
    assert plot.read_text() == "mine"
    assert not (tmp_path / "int8.onnx").exists()
