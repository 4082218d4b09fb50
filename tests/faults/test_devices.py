"""Memory that runs out at every tile, and devices that fail or disappear while they work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deploy import console
from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_arch.errors import ParagonError
from paragon_engine.backends import ort
from paragon_engine.backends.graph_file import open_graph
from paragon_engine.devices import device_failure
from paragon_engine.onnx_export import export_onnx
from paragon_engine.tiling import upscale_tensor
from paragon_engine.upscaler import Upscaler
from tests.engine_models import checkpoint, network, upscaler
from tests.hostile.hostile_pictures import noise
from tests.measuring import note

LOST = (
    "CUDA error: unspecified launch failure",
    "CUDA error: the GPU has fallen off the bus",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "CUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=x",
    "HIP error: the operation cannot be performed in the present state",
    "Native API failed. UR_RESULT_ERROR_DEVICE_LOST",
    "[ONNXRuntimeError] : 1 : FAIL : 887A0005 The GPU device instance has been suspended",
)


def failing(model: Any, monkeypatch: pytest.MonkeyPatch, at: int, error: Exception) -> list[int]:
    """Let the N-th call of a model's network fail; the list counts its calls."""
    module = model.module()
    forward, calls = module.forward, list[int]()

    def run(x: Tensor, *rest: Any) -> Tensor:
        calls.append(x.shape[-1])
        if len(calls) == at + 1:
            raise error
        return forward(x, *rest)

    monkeypatch.setattr(module, "forward", run)
    return calls


def image(side: int = 96) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_out_of_memory_at_every_overlapping_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work goes on with smaller tiles from where it was. Exact tiles: tests/engine/test_exact_tiling.py."""
    x, options = image(), {"tiling": "overlap", "overlap": 16}
    model = upscaler()
    expected = upscale(model, x, options)
    with monkeypatch.context() as patch:
        calls = failing(model, patch, -1, MemoryError())
        upscale(model, x, options)
    total = len(calls)
    for at in range(total):
        with monkeypatch.context() as patch:
            calls = failing(model, patch, at, RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
            found = upscale(model, x, options)
        assert len(calls) > total
        assert (found - expected).abs().max() < 0.02, at
    assert total >= 4
    note("out of memory at each overlapping tile", total, "went on with smaller tiles")


def upscale(model: Any, x: Tensor, options: dict[str, Any]) -> Tensor:
    return upscale_tensor(model, x, tile=64, **options)


def test_out_of_memory_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = upscaler(), image(64)
    expected = upscale_tensor(model, x, tile=0)
    failing(model, monkeypatch, 0, MemoryError())
    assert (upscale_tensor(model, x, tile=0) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("text", LOST)
@pytest.mark.parametrize("options", [{"tile": 0}, {"tile": 64, "tiling": "overlap"}], ids=["whole", "tiles"])
def test_a_device_that_fails(text: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = upscaler()
    failing(model, monkeypatch, 0, RuntimeError(text))
    with pytest.raises(ParagonError, match="stopped working") as caught:
        upscale_tensor(model, image(), **options)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_other_errors_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = upscaler()
    failing(model, monkeypatch, 0, RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
    with pytest.raises(RuntimeError, match="must match"):
        upscale_tensor(model, image(), tile=0)
    assert device_failure(ValueError("CUDA is fine"), "cuda") is None


@pytest.fixture(scope="module")
def graph() -> bytes:
    """A model as ONNX."""
    return export_onnx(network())


class Session:
    """ONNX Runtime's, until its device disappears."""

    def __init__(self, real: Any, error: Exception, after: int) -> None:
        self._real, self._error, self._left = real, error, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def run(self, *arguments: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise self._error
        return self._real.run(*arguments)


@pytest.mark.parametrize(("text", "after"), [(LOST[3], 0), (LOST[6], 2)])
def test_a_provider_that_disappears(
    text: str, after: int, graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime: Any = pytest.importorskip("onnxruntime")
    path = tmp_path / "2x.onnx"
    path.write_bytes(graph)
    real = runtime.InferenceSession

    def start(*arguments: Any, **options: Any) -> Session:
        return Session(real(*arguments, **options), RuntimeError(text), after + 1)  # one run is the start's own

    monkeypatch.setattr(runtime, "InferenceSession", start)
    model = Upscaler(open_graph(path, "onnxruntime").model, device="cpu")
    with pytest.raises(ParagonError, match=r"CPUExecutionProvider.* stopped working"):
        upscale_tensor(model, image(), tile=32, tiling="overlap", overlap=8)


def test_a_provider_that_fails_at_the_start_is_replaced(
    graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented fall-back: the next backend runs the file, and a note says why."""
    pytest.importorskip("openvino")
    (tmp_path / "2x.onnx").write_bytes(graph)

    def broken(*_: Any) -> Any:
        raise RuntimeError(LOST[0])

    monkeypatch.setattr(ort, "_run", broken)
    opened = open_graph(tmp_path / "2x.onnx", "onnxruntime")
    assert opened.backend == "openvino"
    assert "onnxruntime cannot be used (CUDA error" in opened.notes[0]


def test_the_command_says_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what was there before is as it was."""
    (tmp_path / "a.png").write_bytes(noise("PNG"))
    (tmp_path / "out.png").write_bytes(b"old")

    def lost(*_: Any, **__: Any) -> Any:
        raise RuntimeError(LOST[0])

    monkeypatch.setattr("paragon_engine.tiling.run._untiled", lost)
    files = [str(tmp_path / "a.png"), "-o", str(tmp_path / "out.png"), "--overwrite"]
    model = checkpoint(tmp_path / "2x.safetensors")
    assert main(["upscale", *files, "--model", str(model), "--alpha", "0.3", "--backend", "torch", "-q"]) == (
        ExitCode.UNEXPECTED
    )
    message = capsys.readouterr().err
    assert message.startswith("error: cpu stopped working (CUDA error")
    assert message.count("\n") == 1
    assert (tmp_path / "out.png").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2x.safetensors", "a.png", "out.png"]


def test_names_in_files_do_not_command_the_terminal() -> None:
    assert console.printable("\x1b[2Jkey\x07\x9b\n\tü×") == "\\x1b[2Jkey\\x07\\x9b\n\tü×"
