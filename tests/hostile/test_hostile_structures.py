"""Structure that asks for more than a file holds: refused within its budget by every reader, and by plain spandrel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from paragon_arch.errors import MAX_MESSAGE, CorruptCheckpointError, InvalidOptionError, ParagonError
from paragon_arch.files.checkpoint import read_checkpoint
from paragon_engine.backends.graph_file import open_graph
from paragon_engine.onnx_export import read_graph
from paragon_engine.video import probe
from tests.hostile.hostile_files import safetensors
from tests.hostile.hostile_graphs import upscaler
from tests.hostile.hostile_pickles import Case, legacy, tensor, text, zipped
from tests.hostile.hostile_pictures import video
from tests.hostile.structures import ALWAYS_REFUSED, write_all
from tests.measuring import Outcome, note_outcomes, open_all


def assert_cheap(outcomes: dict[str, Outcome]) -> None:
    assert {name: x.seconds for name, x in outcomes.items() if x.seconds >= 2} == {}
    assert {name: x.peak for name, x in outcomes.items() if x.peak >= 512 * 2**20} == {}


@pytest.mark.parametrize("count", [130, pytest.param(2000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("reader", ["checkpoint", "page"])
def test_structures(reader: str, count: int, tmp_path: Path) -> None:
    write_all(tmp_path, count)
    outcomes = open_all(reader, tmp_path)
    assert len(outcomes) == count
    assert {name: (x.error, x.message) for name, x in outcomes.items() if x.error and not x.typed} == {}
    accepted = [name for name, x in outcomes.items() if not x.error]
    assert not [name for name in accepted if name.startswith(ALWAYS_REFUSED)]
    assert_cheap(outcomes)
    what = f"{count - len(accepted)} refused, {len(accepted)} sound after all"
    note_outcomes(
        {"checkpoint": "checkpoints, structures", "page": "badge and card, structures"}[reader], outcomes, what
    )


@pytest.mark.parametrize("count", [65, pytest.param(2000, marks=pytest.mark.exhaustive)])
def test_structures_in_plain_spandrel(count: int, tmp_path: Path) -> None:
    """Its own errors are of no kind of ours; what our layouts add to its loading has to be as cheap."""
    write_all(tmp_path, count)
    for path in tmp_path.glob("*.pth"):  # read by torch, whose limits are its own
        path.unlink()
    outcomes = open_all("spandrel", tmp_path)
    assert_cheap(outcomes)
    refused = sum(bool(x.error) for x in outcomes.values())
    note_outcomes("plain spandrel, structures", outcomes, f"{refused} refused, {len(outcomes) - refused} loaded")


def _zip64_decoy() -> bytes:
    """A locator that names another record than the one in front of it."""
    data = bytearray(zipped(b"\x80\x02}."))
    at = data.rfind(b"PK\x05\x06")
    record = b"PK\x06\x06" + bytes(52)
    locator = b"PK\x06\x07" + bytes(4) + (12).to_bytes(8, "little") + bytes(4)
    return bytes(data[:at] + record + locator + data[at:])


def _many(count: int) -> bytes:
    names = {f"{at}": {"dtype": "U8", "shape": [1], "data_offsets": [at, at + 1]} for at in range(count)}
    return safetensors(names, bytes(count))


_LISTS = b'{"a":[' + b"[]," * 400_000 + b"[]]}"
CASES = (
    Case("decoy.pth", lambda _: _zip64_decoy(), CorruptCheckpointError, "not where torch.save writes it"),
    Case("comment.pth", lambda _: zipped(b"\x80\x02}.")[:-2] + b"\x04\0late", CorruptCheckpointError, "not where"),
    Case(
        "zero_huge.safetensors",
        lambda _: safetensors({"w": {"dtype": "F32", "shape": [0, 2**62, 4], "data_offsets": [0, 0]}}, b""),
        CorruptCheckpointError,
        "no memory holds",
    ),
    Case(
        "zero_huge.pth",
        lambda _: zipped(b"\x80\x02}(" + text("w") + tensor((0, 2**62, 4), (1, 1, 1)) + b"u."),
        CorruptCheckpointError,
        "no memory holds",
    ),
    Case("many.safetensors", lambda _: _many(40_000), CorruptCheckpointError, "over the limit"),
    Case("lists.safetensors", lambda _: safetensors(_LISTS), CorruptCheckpointError, "lists"),
    Case("bricks.pth", lambda _: legacy(b"\x80\x02}.")[:-40], CorruptCheckpointError, "damaged|cut off|too early"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_named_structures(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.make(tmp_path / "marker"))
    with pytest.raises(case.error, match=case.word) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def test_messages_are_of_bounded_length() -> None:
    error = CorruptCheckpointError("begins " + "x" * 10**6 + " ends")
    assert len(str(error)) <= MAX_MESSAGE + 10
    assert str(error).startswith("begins ")
    assert str(error).endswith(" ends")


def test_the_files_of_the_reference_data(shared: Path) -> None:
    """Each broke the promise once."""
    for path in sorted((shared / "cases/hostile").iterdir()):
        if path.name == "README":
            continue
        opener: dict[str, Callable[[Path], object]] = {".onnx": open_graph, ".mp4": probe}
        with pytest.raises(ParagonError, match=path.name):
            opener.get(path.suffix, read_or_build)(path)


def read_or_build(path: Path) -> None:
    """Through the whole loader."""
    import paragon_arch

    paragon_arch.load(path)


# --- ONNX --------------------------------------------------------------------------------------------------------


def _constants(count: int, side: int) -> Any:
    """Constants that a runtime computes when it opens the file."""
    shape = numpy_helper.from_array(np.array([side], np.int64), "shape")
    nodes = [helper.make_node("ConstantOfShape", ["shape"], [f"c{index}"]) for index in range(count)]
    return upscaler(*nodes, initializers=[shape])


def _enlarged(factor: int) -> Any:
    """A picture that becomes huge on its way."""
    scales = [numpy_helper.from_array(np.array([1, 1, f, f], np.float32), f"s{index}")
              for index, f in enumerate((factor, 2 / factor))]  # fmt: skip
    model = upscaler(initializers=scales)
    del model.graph.node[:]
    model.graph.node.extend([
        helper.make_node("Resize", ["x", "", "s0"], ["big"], mode="nearest"),
        helper.make_node("Resize", ["big", "", "s1"], ["y"], mode="nearest"),
    ])  # fmt: skip
    return model


def _kept(count: int) -> Any:
    """Many maps, all of which the last node needs."""
    scales = numpy_helper.from_array(np.array([1, 1, 16, 16], np.float32), "s")
    nodes = [helper.make_node("Resize", ["x", "", "s"], [f"m{index}"], mode="nearest") for index in range(count)]
    return upscaler(
        *nodes, helper.make_node("Sum", [f"m{index}" for index in range(count)], ["sum"]), initializers=[scales]
    )


def _in_a_branch() -> Any:
    """The same inside of a conditional."""
    shape = numpy_helper.from_array(np.array([2**28], np.int64), "shape")
    big = helper.make_node("ConstantOfShape", ["shape"], ["big"])
    output = [helper.make_tensor_value_info("big", TensorProto.FLOAT, [2**28])]
    branch = helper.make_graph([big], "branch", [], output, [shape])
    condition = numpy_helper.from_array(np.array(True), "condition")
    node = helper.make_node("If", ["condition"], ["z"], then_branch=branch, else_branch=branch)
    return upscaler(node, initializers=[condition])


@pytest.mark.parametrize(
    "model", [_constants(4, 2**27), _constants(600, 2**20), _enlarged(150), _kept(60), _in_a_branch()],
    ids=["constants", "many constants", "enlarged", "kept", "branch"],
)  # fmt: skip
def test_memory_is_foreseen(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CorruptCheckpointError, match=r"would take|declares"):
        read_graph(path)


def test_what_an_upscaler_takes_is_allowed(tmp_path: Path) -> None:
    for model in (_constants(3, 2**20), _enlarged(16), _kept(4)):
        path = tmp_path / "m.onnx"
        path.write_bytes(model.SerializeToString())
        assert onnx.load_from_string(read_graph(path)).graph.node


def test_a_scale_that_no_upscaler_has(tmp_path: Path) -> None:
    model = upscaler()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1, 1, 32, 32], np.float32), "scales"))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidOptionError, match="enlarges by 32"):
        open_graph(tmp_path / "m.onnx")


# --- videos ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pl.mp4", "pl.m3u8", "pl.mkv", "%d.mp4"])
@pytest.mark.parametrize("kind", ["concat", "hls", "dash"])
def test_a_playlist_is_no_video(name: str, kind: str, tmp_path: Path) -> None:
    """Whatever its name says, it would read the files that it names."""
    pytest.importorskip("av")
    video(tmp_path / "1.mp4")
    other = tmp_path / "1.mp4"
    texts = {
        "concat": f"ffconcat version 1.0\nfile {other}\n",
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
        f"<Period><BaseURL>{other}</BaseURL></Period></MPD>",
    }
    (tmp_path / name).write_text(texts[kind], encoding="utf-8")
    with pytest.raises(ParagonError, match="not a video"):
        probe(tmp_path / name)
