"""Exact tiling through a model's descriptor: plans, sizes, precisions, buffers, failures, progress."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import paragon_arch
from paragon_arch.errors import CancelledError
from paragon_arch.networks.stages import Program
from paragon_arch.networks.v2_atd import ParagonSR2ATD
from paragon_engine.progress import Progress
from paragon_engine.tiling import buffers, make_plan, upscale_tensor
from paragon_engine.tiling.buffers import Limits, Store, limits_for, reserve_file
from paragon_engine.tiling.memory import is_out_of_memory
from paragon_engine.tiling.plan import untiled_need
from paragon_engine.tiling.streaming import Streamer
from tests.devices import DEVICE, within
from tests.engine.exact_models import build, image
from tests.engine_models import descriptor, ready, upscaler

CPU = torch.device("cpu")
PRO: dict[str, Any] = {"variant": "pro", "window_size": 8, "num_blocks": 2}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="paragonsr")
    return caplog


@pytest.mark.parametrize("options", [{}, {"variant": "photo", "window_size": 8}, PRO])
@pytest.mark.parametrize("size", [(45, 37), (40, 64), (3, 70), (1, 33)])
def test_a_descriptor_in_tiles_is_the_descriptor(
    options: dict[str, Any], size: tuple[int, int], log: pytest.LogCaptureFixture
) -> None:
    """Sizes that are no whole number of windows, or below the minimum, are extended as spandrel extends them."""
    model, x = descriptor(**options), image(*size)
    expected = model(x)
    found = upscale_tensor(ready(model), x, tile=32)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= within(1e-5)
    assert "exact tiles of 32" in log.text
    assert "not known" not in log.text


def test_what_cannot_be_tiled_exactly_runs_untiled_and_says_so(log: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = ParagonSR2ATD(scale=2, num_feat=16, num_groups=1, num_blocks=2)
    plain, x = paragon_arch.load(network.state_dict()).to(DEVICE), image(40, 48)
    model = ready(plain)
    assert make_plan(model, x, tile=32).kind == "untiled"
    assert "exact tiles are not known for this model: running untiled" in log.text
    assert (upscale_tensor(model, x, tile=32) - plain(x)).abs().max() <= 1e-5
    assert make_plan(model, x, tile=32, tiling="overlap").kind == "overlap"


def test_auto_takes_exact_tiles_that_fit(monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> None:
    model, x = upscaler(**PRO), image(96, 80)
    whole = untiled_need(model, tuple(x.shape))
    assert whole is not None
    expected = upscale_tensor(model, x)
    assert "exact tiles" not in log.text

    def less(_: torch.device) -> int:
        return whole // 2

    monkeypatch.setattr("paragon_engine.tiling.available.free_memory", less)
    monkeypatch.setattr("paragon_engine.tiling.buffers.free_memory", less)
    plan = make_plan(model, x)
    assert plan.kind == "exact"
    assert (upscale_tensor(model, x) - expected).abs().max() <= 1e-5


def test_every_part_is_announced_once() -> None:
    model, x = upscaler(**PRO), image(45, 37)
    parts: list[tuple[Tensor, int, int]] = []

    def on_part(part: Tensor, top: int, left: int) -> None:
        parts.append((part.clone(), top, left))

    result = upscale_tensor(model, x, tile=32, on_part=on_part)[0]
    together, seen = result.new_zeros(3, 90, 74), result.new_zeros(90, 74)
    for part, top, left in parts:
        bottom, right = top + part.shape[1], left + part.shape[2]
        assert bottom <= 90
        assert right <= 74
        together[:, top:bottom, left:right] = part
        seen[top:bottom, left:right] += 1
    assert bool((seen == 1).all())
    assert torch.equal(together, result)


class _Shown(Progress):
    def __init__(self) -> None:
        super().__init__()
        self.etas: list[float | None] = []

    def show(self, *, final: bool = False) -> None:
        self.etas.append(self.eta)


def test_progress_tells_how_long_it_will_take() -> None:
    shown = _Shown()
    upscale_tensor(upscaler(**PRO), image(64, 64), tile=32, progress=shown)
    assert shown.etas[0] is None
    assert all(eta is not None for eta in shown.etas[1:])
    assert shown.etas[-1] == pytest.approx(0, abs=1e-6)


def test_an_untiled_run_shows_progress_and_can_be_stopped() -> None:
    run, x = upscaler(**PRO), image(24, 24)
    shown = _Shown()
    expected = upscale_tensor(run, x, tile=0, progress=shown)
    assert len(shown.etas) > 10
    assert shown.done == shown.total

    class StopHalfWay(Progress):
        def show(self, *, final: bool = False) -> None:
            if self.done > self.total / 2:
                self.cancel()

    stopped = StopHalfWay()
    with pytest.raises(CancelledError):
        upscale_tensor(run, x, tile=0, progress=stopped)
    assert stopped.done < 0.6 * stopped.total
    assert torch.equal(upscale_tensor(run, x, tile=0), expected)  # the model is as it was


def test_memory_that_runs_out_untiled_takes_the_progress_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, whole = upscaler(**PRO), image(64, 64), Progress()
    expected = model(x)
    layer = model.module().get_submodule("tail.0")
    forward, failed = layer.forward, False

    def failing(x: Tensor) -> Tensor:
        nonlocal failed
        if not failed:
            failed = True
            raise RuntimeError("XPU out of memory. Tried to allocate 2.00 GiB")
        return forward(x)

    monkeypatch.setattr(layer, "forward", failing)
    whole.start(1)
    assert (upscale_tensor(model, x, tile=0, progress=whole.part()) - expected).abs().max() <= 1e-5
    assert whole.done == pytest.approx(1)


def test_stages_that_overflow_are_redone(log: pytest.LogCaptureFixture) -> None:
    model, x = descriptor(**PRO), image(40, 40)
    with torch.no_grad():  # features beyond FP16's 65504, brought back by the next layer
        model.model.get_parameter("conv_mid.weight").mul_(1e7)
        model.model.get_parameter("conv_mid.bias").mul_(1e7)
        model.model.get_parameter("up.0.weight").mul_(1e-7)
    found = upscale_tensor(ready(model, precision="fp16"), x, tile=32)
    assert torch.isfinite(found).all()
    assert (found - model(x)).abs().max() <= 0.05  # BF16 has eight bits
    assert "overflowed in fp16: redone in bf16" in log.text


@pytest.mark.parametrize(
    ("limits", "kinds"),
    [
        (Limits(), {"device"}),
        (Limits(device=0), {"host"}),
        (Limits(device=0, host=0), {"file"}),
        (Limits(device=2e5, host=1e5), {"device", "file"}),
        (Limits(device=1e5, host=2e5), {"host", "file"}),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_maps_lie_where_there_is_room(
    limits: Limits, kinds: set[str], channels_last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = build("v2-release-pro"), image(40, 56)
    used: set[str] = set()
    new = Store.new

    def noted(self: Store, channels: int, height: int, width: int) -> Any:
        buffer = new(self, channels, height, width)
        used.add(buffer.kind)
        return buffer

    monkeypatch.setattr(Store, "new", noted)
    out = torch.empty(1, 3, 80, 112)
    store = Store(CPU, x.dtype, limits, tmp_path, channels_last=channels_last)
    with torch.inference_mode():
        Streamer(_program(network, x), store=store, like=torch.empty(0), tile=16).run(x, out)
        assert (out - network(x)).abs().max() <= 1e-5
    assert used == kinds
    assert not list(tmp_path.iterdir())


def _program(network: Any, x: Tensor) -> Program:
    from paragon_arch.networks.programs import stages_of

    program = stages_of(network, x.shape[2], x.shape[3])
    assert program is not None
    return program


def test_limits_leave_room_for_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def free(_: torch.device) -> int:
        return 1000

    monkeypatch.setattr(buffers, "free_memory", free)
    assert limits_for(CPU, 300) == Limits(device=700, host=0)
    assert limits_for(CPU, 3000) == Limits(device=0, host=0)
    assert limits_for(torch.device("cuda"), 300) == Limits(device=700, host=800)
    assert limits_for(CPU, 300, 500) == Limits(device=200, host=0)
    assert limits_for(CPU, 300, 5000) == Limits(device=700, host=0)


def test_files_are_gone_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = build("v2-release-pro"), image(40, 56)
    compute, calls = Streamer.compute, 0

    def broken(self: Streamer, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise ValueError("broken")
        return compute(self, *arguments)

    monkeypatch.setattr(Streamer, "compute", broken)
    store = Store(CPU, x.dtype, Limits(device=0, host=0), tmp_path)
    with pytest.raises(ValueError, match="broken"), torch.inference_mode():
        Streamer(_program(network, x), store=store, like=torch.empty(0), tile=16).run(x, torch.empty(1, 3, 80, 112))
    assert store.files > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot set disk space aside")
def test_a_full_disk_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = Store(CPU, torch.float32, Limits(device=0, host=0), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(MemoryError, match="No space left on device; free some"):
            store.new(16, 100, 100)
    assert not list(tmp_path.iterdir())
    with pytest.raises(MemoryError, match="no room for a map of"):
        store.new(2**20, 2**16, 2**16)  # an exabyte, refused before anything is written
    assert not list(tmp_path.iterdir())


def test_a_reserved_file_has_its_blocks(tmp_path: Path) -> None:
    path = reserve_file(tmp_path, 1 << 20)
    status = path.stat()
    assert status.st_size == 1 << 20
    if hasattr(os, "posix_fallocate"):
        assert status.st_blocks * 512 >= 1 << 20


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "HIP out of memory. Tried to allocate 2.00 GiB",
        "MPS backend out of memory (MPS allocated: 8.5 GB, max allowed: 9.0 GB)",
        "XPU out of memory. Tried to allocate 2.00 GiB",
        "Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES)",
        "Could not allocate tensor with 4194304 bytes. There is not enough GPU video memory available!",
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate",
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate",
        "unable to mmap 4096 bytes from file </tmp/x>: Cannot allocate memory (12)",
        "std::bad_alloc",
    ],
)
def test_every_device_says_it_in_its_own_words(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
