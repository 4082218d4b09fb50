"""The benchmark: what it measures, and what it writes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import nn

from benchmarks.reference import reference_form
from benchmarks.run_all import MODELS, build
from deploy.cli import main
from paragon_engine.benchmark import Options, Report, as_json, benchmark, markdown, svg
from paragon_engine.benchmark.ceilings import work
from paragon_engine.benchmark.memory import peak_bytes
from tests.engine_models import checkpoint, network

OPTIONS = Options(sizes=(24,), backends=("torch", "onnxruntime"), runs=3, passes=True)


@pytest.fixture(scope="module")
def report() -> Report:
    return benchmark({"tiny <2x>": network()}, OPTIONS, reference=reference_form)


def test_every_form_and_backend_has_a_line(report: Report) -> None:
    (case,) = report.cases
    lines = [(row.form, row.backend) for row in case.rows]
    assert lines[0] == ("reference", "torch")
    assert ("fused", "torch") in lines
    assert lines[-3:] == [("inference", "torch"), ("reference", "onnxruntime"), ("inference", "onnxruntime")]
    assert any(form.startswith("inference up to ") for form, _ in lines)
    assert not case.failed


def test_lines_compute_the_same(report: Report) -> None:
    assert all(row.difference <= 1e-4 for row in report.cases[0].rows)
    assert any(row.difference > 0 for row in report.cases[0].rows)  # compared with something else than themselves


def test_ratios_are_of_medians(report: Report) -> None:
    rows = report.cases[0].rows
    assert rows[0].ratio == 1
    for row in rows:
        assert row.runs == 3
        assert row.ratio == pytest.approx(rows[0].median / row.median)
    ours, theirs = rows[-1], rows[-2]
    assert ours.against_graph == pytest.approx(theirs.median / ours.median)


def test_shares_of_the_ceilings(report: Report) -> None:
    assert report.ceilings.keys() == {"gemm", "copy"}
    row = report.cases[0].rows[0]
    flops = work(reference_form(network()), torch.zeros(1, 3, 24, 24)).flops
    assert row.gemm_share == pytest.approx(flops / row.median / report.ceilings["gemm"])
    assert row.copy_share is not None
    assert row.copy_share > 0
    assert all(row.copy_share is None for row in report.cases[0].rows if row.backend != "torch")


def test_without_a_reference_the_fused_network_is_the_baseline() -> None:
    found = benchmark({"tiny": network()}, Options(sizes=(16,), backends=("torch",), runs=3))
    assert [(row.form, row.backend) for row in found.cases[0].rows] == [("fused", "torch"), ("inference", "torch")]


def test_what_cannot_run_is_named(shared: Path) -> None:
    import paragon_arch
    from tests.golden import read

    golden = read(shared / "golden" / "v2-atd_pro-shrunk32_x2.safetensors")
    net = paragon_arch.load(golden.state, **golden.options).model
    found = benchmark({"pro": net}, Options(sizes=(16,), backends=("torch", "onnxruntime"), runs=3))
    (case,) = found.cases
    assert "sorts its tokens" in case.failed["inference, onnxruntime"]
    assert [row.backend for row in case.rows] == ["torch", "torch"]
    assert "Not measured: inference, onnxruntime" in markdown(found)


def test_work_of_a_convolution_is_known() -> None:
    layer = nn.Conv2d(3, 8, 3, padding=1)
    counted = work(layer, torch.zeros(1, 3, 10, 10))
    assert counted.flops == 2 * 100 * 8 * 27
    assert counted.traffic == 4 * (300 + 8 * 27 + 8 + 800)


def test_peak_memory_sees_what_is_freed_again() -> None:
    def call() -> None:
        torch.ones(2**25).sum()  # 128 MiB, gone when the call returns

    peak = peak_bytes(call, torch.device("cpu"))
    if peak is None:
        pytest.skip("this system does not tell")
    assert 120 * 2**20 <= peak <= 200 * 2**20


def test_json_is_complete(report: Report) -> None:
    data: dict[str, Any] = json.loads(as_json(report))
    assert data["threads"] == torch.get_num_threads()
    assert statistics.fmean(row["median"] for row in data["cases"][0]["rows"]) > 0


def test_plot_is_well_formed(report: Report) -> None:
    tree = ET.fromstring(svg(report))
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert "tiny <2x>, 24 x 24" in texts
    bars = [e for e in tree.iter("{http://www.w3.org/2000/svg}rect") if e.get("fill-opacity")]
    assert len(bars) == len(report.cases[0].rows)


def test_document(report: Report) -> None:
    text = markdown(report, plot="images/x.svg")
    assert "(images/x.svg)" in text
    assert "## tiny <2x>, 24 x 24" in text


class TestCommand:
    def test_writes_three_files_and_shows_a_table(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model, out = checkpoint(tmp_path / "2x_tiny.safetensors"), tmp_path / "out"
        arguments = [
            "benchmark",
            str(model),
            "--size",
            "16",
            "--runs",
            "3",
            "--backends",
            "torch",
            "-o",
            str(out),
            "-q",
        ]
        assert main(arguments) == 0
        assert {file.name for file in out.iterdir()} == {"benchmark.json", "benchmark.md", "benchmark.svg"}
        assert "reference" in capsys.readouterr().out
        assert main(arguments) == 7  # exists already
        assert main([*arguments, "--overwrite"]) == 0

    def test_lists_backends(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["benchmark", "--list"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("torch ") and " yes " in line for line in lines)
        assert any(line.startswith("ncnn ") and " no " in line for line in lines)

    def test_unknown_backend(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = checkpoint(tmp_path / "2x_tiny.safetensors")
        assert main(["benchmark", str(model), "--size", "16", "--backends", "nope"]) == 5
        assert "choose" in capsys.readouterr().err


@pytest.mark.parametrize("entry", MODELS)
def test_models_of_the_table_are_official(entry: tuple[str, str, int]) -> None:
    net = build(*entry)
    assert net.scale == entry[2]
    assert not net.training
