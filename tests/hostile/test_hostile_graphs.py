"""Hostile ONNX files are refused by every reader before a runtime has seen a byte of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from deploy.cli import main
from deploy.exit_codes import ExitCode
from nodes.load_graph import LoadGraph
from paragon_arch.errors import CorruptCheckpointError, ParagonError
from paragon_engine.backends.graph_file import open_graph
from paragon_engine.engines import trtexec_commands
from paragon_engine.onnx_export import read_graph
from paragon_engine.release.artefacts import open_artefact
from tests.engine_models import checkpoint
from tests.hostile.hostile_graphs import GRAPHS, Graph, upscaler, write, write_sound
from tests.measuring import note, note_outcomes, open_all
from tests.nodes.conftest import host  # noqa: F401  # pyright: ignore[reportUnusedImport]  (a fixture)
from tests.nodes.stand_in import Host

NAMES = [graph.name for graph in GRAPHS]


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that is given anything fails the test."""

    def seen(*_: Any, **__: Any) -> None:
        pytest.fail("a runtime has seen the file")

    monkeypatch.setattr(onnxruntime, "InferenceSession", seen)
    for name in ("read_model", "compile_model"):
        openvino = pytest.importorskip("openvino")
        monkeypatch.setattr(openvino.Core, name, seen)


@pytest.mark.usefixtures("no_runtime")
@pytest.mark.parametrize("graph", GRAPHS, ids=NAMES)
@pytest.mark.parametrize("reader", [read_graph, open_graph, open_artefact])
def test_refused(reader: Callable[[Path], object], graph: Graph, tmp_path: Path) -> None:
    path = write(graph, tmp_path / "model")
    with pytest.raises(ParagonError) as caught:
        reader(path)
    assert type(caught.value) is graph.error
    assert graph.word in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.usefixtures("no_runtime")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_refused_whatever_the_backend(backend: str, tmp_path: Path) -> None:
    for graph in GRAPHS[::7]:
        with pytest.raises(graph.error):
            open_graph(write(graph, tmp_path / graph.name), backend)


@pytest.mark.usefixtures("no_runtime")
def test_refused_by_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = checkpoint(tmp_path / "2x_model.safetensors")
    for graph in GRAPHS[::5]:
        path = write(graph, tmp_path / graph.name)
        page = tmp_path / "page.html"
        commands = (
            ["verify", path, "--against", model, "--alpha", "0.3", "-q"],
            ["compare", path, model, "-o", page, "--alpha", "0.3", "-q"],
            ["engine", path, "--commands", "-q"],
        )
        for command in commands:
            assert main([*map(str, command)]) == ExitCode.CHECKPOINT, (graph.name, command)
            assert capsys.readouterr().err.startswith("error: ")
        assert not page.exists()
    note("ONNX files, three commands", 3 * len(GRAPHS[::5]), "refused before a runtime saw them")


@pytest.mark.usefixtures("no_runtime")
def test_refused_by_the_node(host: Host, tmp_path: Path) -> None:  # noqa: F811  (the fixture)
    folder = host.base / "models/onnx"
    folder.mkdir(parents=True)
    for graph in GRAPHS:
        path = write(graph, tmp_path / graph.name)
        shutil.copy(path, folder / path.name)
        with pytest.raises(graph.error):
            LoadGraph().load(path.name, "auto")


def test_cheaply(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for graph in GRAPHS:
        shutil.copy(write(graph, tmp_path / graph.name), folder)
    outcomes = open_all("graph", folder)
    assert len(outcomes) == len(GRAPHS)
    assert all(outcome.typed for outcome in outcomes.values())
    assert max(outcome.seconds for outcome in outcomes.values()) < 2
    assert max(outcome.peak for outcome in outcomes.values()) < 512 * 2**20
    note_outcomes("ONNX files, memory and time", outcomes, "refused")


def test_what_the_attacks_were_made_of_is_sound(tmp_path: Path) -> None:
    opened = open_graph(write_sound(tmp_path), "onnxruntime")
    assert opened.model.scale == 2
    assert torch.equal(opened.model.model(torch.ones(1, 3, 5, 7)), torch.ones(1, 3, 10, 14))


@pytest.mark.parametrize(
    ("key", "value"),
    [("minimum_size", "abc"), ("minimum_size", "-1"), ("minimum_size", "9" * 5000), ("minimum_size", "\u0663")],
)
def test_metadata_that_are_no_numbers(key: str, value: str, tmp_path: Path) -> None:
    model = upscaler()
    helper.set_model_props(model, {f"paragonsr.{key}": value})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CorruptCheckpointError, match="minimum size"):
        open_artefact(tmp_path / "m.onnx")


@pytest.mark.parametrize("value", ["99999999999", "0", "x", "3"])
def test_the_graph_is_believed_before_its_metadata(value: str, tmp_path: Path) -> None:
    model = upscaler()
    helper.set_model_props(model, {"paragonsr.scale": value})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert open_artefact(tmp_path / "m.onnx").scale == 2


@pytest.mark.parametrize("sides", [[], [1], [1, 3, 8], [1, 3, 8, 8, 8]])
def test_outputs_and_inputs_of_other_ranks(sides: list[int], tmp_path: Path) -> None:
    for place in ("input", "output"):
        model = upscaler()
        value = getattr(model.graph, place)[0]
        value.CopyFrom(helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, sides))
        path = tmp_path / f"{place}.onnx"
        path.write_bytes(model.SerializeToString())
        for reader in (open_graph, open_artefact):
            with pytest.raises(ParagonError):
                reader(path)


def test_names_of_inputs_do_not_become_commands() -> None:
    model = upscaler()
    for dim, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[dim].dim_param = name
    model.graph.input[0].name = model.graph.node[0].input[0] = "x; touch /tmp/evil #"
    for line in trtexec_commands("m $(id).onnx", model.SerializeToString()).values():
        assert "'--minShapes=x; touch /tmp/evil #:1x3x64x64'" in line
        assert "'--onnx=m $(id).onnx'" in line


def test_mutations_of_a_sound_file(tmp_path: Path) -> None:
    """Flipped bits and cuts: a typed error or a graph, never another exception."""
    data, chance = write_sound(tmp_path).read_bytes(), np.random.default_rng(0)
    path, refused = tmp_path / "mutant.onnx", 0
    for _ in range(300):
        mutant = bytearray(data[: int(chance.integers(1, len(data) + 1))] if chance.random() < 0.3 else data)
        mutant[int(chance.integers(len(mutant)))] ^= 1 << int(chance.integers(8))
        path.write_bytes(mutant)
        try:
            read_graph(path)
        except ParagonError as error:
            assert str(path) in str(error)  # noqa: PT017  (either outcome is right)
            refused += 1
    assert refused > 100
    note("ONNX files, mutations", 300, f"{refused} refused, the others sound after all")
