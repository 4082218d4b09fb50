"""Overlap tiling: equal to the untiled result where it claims to be, complete in every case."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from paragon_arch.errors import CancelledError, InvalidOptionError
from paragon_engine.progress import Progress
from paragon_engine.tiling import available, make_plan, upscale_tensor
from paragon_engine.tiling.overlap import (
    AUTO_TILE,
    default_overlap,
    is_exact,
    is_out_of_memory,
    spans,
    upscale_overlapping,
)
from paragon_engine.tiling.plan import Plan
from tests.devices import within
from tests.engine_models import upscaler

SIZES = [(97, 131), (1, 80), (80, 1), (64, 64), (65, 64), (33, 200), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tile", [32, 47, 64])
def test_tiles_with_the_default_overlap_equal_the_untiled_result(size: tuple[int, int], tile: int) -> None:
    model, x = upscaler(), torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    untiled = model(x)
    assert untiled.shape == (1, 3, size[0] * 2, size[1] * 2)
    assert (upscale_overlapping(model, x, tile=tile) - untiled).abs().max() <= within(1e-6)


def test_too_small_an_overlap_changes_the_result_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model, x = upscaler(), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with caplog.at_level(logging.INFO, logger="paragonsr"):
        tiled = upscale_overlapping(model, x, tile=32, overlap=4)
    difference = (tiled - model(x)).abs().max()
    assert 1e-4 < difference < 0.1
    assert not is_exact(model, 4)
    assert "approximate" in caplog.text


def test_windows_stay_on_the_image_grid() -> None:
    """Without shifted windows in play, a tile sees the very windows that the untiled network sees."""
    model = upscaler(variant="photo", window_size=8, num_blocks=1)
    x = torch.rand(1, 3, 160, 40, generator=torch.Generator().manual_seed(1))
    difference = (upscale_overlapping(model, x, tile=128, overlap=69) - model(x)).abs().max()
    assert model.receptive_field() is None
    assert difference <= within(1e-6)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 100, 513])
@pytest.mark.parametrize(("tile", "overlap"), [(32, 0), (32, 14), (40, 64), (64, 7)])
@pytest.mark.parametrize("align", [1, 8])
@pytest.mark.parametrize("radius", [None, 3, 100])
def test_weights_of_all_tiles_sum_to_one(length: int, tile: int, overlap: int, align: int, radius: int | None) -> None:
    total = torch.zeros(length * 2)
    for span in spans(length, tile, overlap, radius=radius, align=align):
        assert 0 <= span.start <= span.first < span.last <= span.stop <= length
        assert span.start % align == 0
        assert span.stop % align == 0 or span.stop == length
        assert span.stop - span.start <= max(tile, align + min(overlap, tile // 2))
        total[span.first * 2 : span.last * 2] += span.weights(2)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)


def test_default_overlap_follows_the_receptive_field() -> None:
    assert default_overlap(upscaler()) == 14
    assert default_overlap(upscaler(variant="photo", window_size=8)) == 64


def out_of_memory_above(model: Any, limit: int) -> list[tuple[int, ...]]:
    """Make a model's forward fail for inputs of more pixels than ``limit``; returns the shapes that worked."""
    worked: list[tuple[int, ...]] = []
    forward = model.module().forward

    def limited(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if x.shape[-1] * x.shape[-2] > limit:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried ...")
        worked.append(tuple(x.shape))
        return forward(x, *args, **kwargs)

    model.module().forward = limited
    return worked


def test_out_of_memory_shrinks_the_tiles_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    model, x = upscaler(), torch.rand(1, 3, 100, 140, generator=torch.Generator().manual_seed(1))
    untiled = model(x)
    worked = out_of_memory_above(model, 34 * 34)
    assert (upscale_overlapping(model, x, tile=128) - untiled).abs().max() <= within(1e-6)
    assert len(worked) > 9
    sizes = [int(text) for text in re.findall(r"going on with tiles of (\d+)", caplog.text)]
    assert sizes == sorted(set(sizes), reverse=True)  # never a second attempt at a size that failed
    assert sizes[-1] == 32


def test_out_of_memory_at_the_smallest_tile_raises() -> None:
    model = upscaler()
    out_of_memory_above(model, 0)
    with pytest.raises(MemoryError, match="even with tiles"):
        upscale_overlapping(model, torch.rand(1, 3, 64, 64), tile=64)


def test_other_errors_of_the_network_are_not_swallowed() -> None:
    model = upscaler()

    def broken(*_: Any) -> Tensor:
        raise RuntimeError("shape mismatch")

    model.module().forward = broken
    with pytest.raises(RuntimeError, match="shape mismatch"):
        upscale_overlapping(model, torch.rand(1, 3, 64, 64), tile=32)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried ..."), RuntimeError("x")])
def test_out_of_memory_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error) == (str(error) != "x")


def test_auto_is_untiled_while_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = upscaler(), torch.empty(1, 3, 600, 700)
    assert make_plan(model, x, tiling="overlap").kind == "untiled"

    def nearly_nothing(device: torch.device) -> int:
        return 2**20

    monkeypatch.setattr(available, "free_memory", nearly_nothing)
    assert make_plan(model, x, tiling="overlap") == Plan("overlap", AUTO_TILE)


@pytest.mark.parametrize("option", [{"tile": -1}, {"tile": 8}, {"overlap": -1}])
def test_senseless_options_are_refused(option: dict[str, Any]) -> None:
    options: dict[str, Any] = {"tile": 32} | option
    with pytest.raises(InvalidOptionError):
        upscale_tensor(upscaler(), torch.rand(1, 3, 40, 40), **options, tiling="overlap")


class _Recorder(Progress):
    def __init__(self, stop_after: float = float("inf")) -> None:
        super().__init__()
        self.seen: list[float] = []
        self._stop_after = stop_after

    def show(self, *, final: bool = False) -> None:
        self.seen.append(self.done / self.total)
        if self.done >= self._stop_after:
            self.cancel()


def test_progress_counts_every_tile() -> None:
    recorder = _Recorder()
    upscale_overlapping(upscaler(), torch.rand(1, 3, 64, 64), tile=32, progress=recorder)
    assert recorder.seen == sorted(recorder.seen)
    assert recorder.seen[-1] == 1
    assert recorder.total == 9


def test_cancelling_stops_at_the_next_tile() -> None:
    recorder = _Recorder(stop_after=2)
    with pytest.raises(CancelledError):
        upscale_overlapping(upscaler(), torch.rand(1, 3, 64, 64), tile=32, progress=recorder)
    assert recorder.done == 2
