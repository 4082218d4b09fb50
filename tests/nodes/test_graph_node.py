"""Load ParagonSR ONNX, with real graphs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nodes import onnx_packages
from nodes.load_graph import NO_FILES, LoadGraph
from paragon_arch.errors import CorruptCheckpointError, InvalidOptionError
from paragon_engine.backends import graph_file
from paragon_engine.onnx_export import export_onnx
from tests.engine_models import network
from tests.nodes.stand_in import Host
from tests.nodes.test_upscale_node import upscale

pytest.importorskip("onnxruntime")


@pytest.fixture
def graph(host: Host) -> Path:
    """ComfyUI's folder of graphs, with one in it."""
    path = host.base / "models/onnx/2x_test.onnx"
    path.parent.mkdir(parents=True)
    with torch.inference_mode(mode=False):
        export_onnx(network(), path)
    return path


def test_a_graph_upscales_as_its_network_does(graph: Path) -> None:
    assert LoadGraph.INPUT_TYPES()["required"]["model_name"][0] == [graph.name]
    model, info = LoadGraph().load(graph.name, "auto")
    image = torch.rand(1, 40, 30, 3)
    result, _ = upscale(model, image, tile="auto")
    expected = network()(image.movedim(-1, 1)).clamp(0, 1).movedim(1, -1)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-4)
    assert info.startswith(f"{graph.name}: scale 2, run by onnxruntime;")
    assert "paragonsr.scale: 2" in info


def test_what_cannot_be_used_is_replaced_and_named(graph: Path) -> None:
    _, info = LoadGraph().load(graph.name, "onnxruntime-tensorrt")
    assert "run by onnxruntime;" in info
    assert "note: onnxruntime-tensorrt cannot be used (" in info


def missing(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    def installed(module: str) -> bool:
        return module not in modules

    monkeypatch.setattr(onnx_packages, "installed", installed)


def test_missing_packages_are_named_at_once_with_a_command_for_this_python(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing(monkeypatch, "onnx", "onnxslim", "onnxruntime")
    command = re.escape(f"{sys.executable} -m pip install ")
    with pytest.raises(InvalidOptionError, match=f"{command}onnx onnxruntime$"):
        LoadGraph().load(graph.name, "auto")
    with pytest.raises(InvalidOptionError, match=f"{command}onnx onnxruntime-directml$"):
        LoadGraph().load(graph.name, "onnxruntime-directml")
    with pytest.raises(InvalidOptionError, match=f"{command}onnx onnxslim onnxruntime$"):
        onnx_packages.require_packages(onnx_packages.WRITING)


def test_a_python_in_a_folder_with_spaces_is_quoted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host is not None
    monkeypatch.setattr(sys, "executable", r"C:\My ComfyUI\python_embeded\python.exe")
    assert onnx_packages.command(["onnx"]) == r'"C:\My ComfyUI\python_embeded\python.exe" -m pip install onnx'


def test_what_tensorrt_lacks_is_in_the_info(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "tensorrt")
    _, info = LoadGraph().load(graph.name, "onnxruntime-tensorrt")
    assert f"{sys.executable} -m pip install onnxruntime-gpu tensorrt" in info


def test_two_builds_of_onnx_runtime_are_noticed(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def distributions() -> dict[str, list[str]]:
        return {"onnxruntime": ["onnxruntime-gpu", "onnxruntime"]}

    monkeypatch.setattr(graph_file.metadata, "packages_distributions", distributions)
    _, info = LoadGraph().load(graph.name, "auto")
    assert "note: onnxruntime and onnxruntime-gpu are both installed and overwrite each other" in info


@pytest.mark.usefixtures("host")
def test_an_empty_folder_is_said_in_the_list() -> None:
    assert LoadGraph.INPUT_TYPES()["required"]["model_name"][0] == [NO_FILES]


def test_files_that_cannot_be_run(host: Host) -> None:
    folder = host.base / "models/onnx"
    folder.mkdir(parents=True)
    (folder / "broken.onnx").write_bytes(b"not a graph")
    with pytest.raises(CorruptCheckpointError, match=r"broken\.onnx"):
        LoadGraph().load("broken.onnx", "auto")
    with torch.inference_mode(mode=False):
        export_onnx(network(), folder / "fixed.onnx", dynamic=False, size=(64, 48))
    with pytest.raises(InvalidOptionError, match="takes pictures of 48 x 64 only"):
        LoadGraph().load("fixed.onnx", "auto")
    with pytest.raises(InvalidOptionError, match="runs no ONNX files"):
        LoadGraph().load("fixed.onnx", "torch")


def test_a_replaced_file_is_loaded_again(graph: Path) -> None:
    before = LoadGraph.IS_CHANGED(graph.name)
    graph.write_bytes(graph.read_bytes() + b"\0")
    assert LoadGraph.IS_CHANGED(graph.name) != before


def test_copies_share_the_session() -> None:
    calls: list[Any] = []

    def run(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return x

    original = graph_file.GraphNetwork(run, 1)
    twin = graph_file.copy.deepcopy(original)
    twin(torch.zeros(1, 3, 4, 4))
    assert len(calls) == 1
    assert twin.anchor is not original.anchor
