"""Exact tiling: the result of the whole image, for every layout, size and tile, through failures of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paragon_arch.errors import CancelledError
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.programs import convolutional, stages_of
from paragon_arch.networks.stages import Program
from paragon_engine.progress import Progress
from paragon_engine.tiling.buffers import Limits, Store
from paragon_engine.tiling.streaming import Streamer
from tests.engine.exact_models import NETWORKS, build, image, load_golden
from tests.golden import NAMES, read

TOLERANCE = 1e-5
SIZES = [(1, 1), (1, 41), (37, 1), (2, 3), (7, 7), (13, 64), (16, 16), (31, 29), (32, 48), (33, 65), (47, 53), (96, 40)]
TILES = [16, 23, 32, 48, 64]
UNTILED_ONLY = {"v2-atd_pro-shrunk32_x2"}


def stream(
    program: Program,
    x: Tensor,
    scale: int,
    tile: int,
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Tensor:
    out = torch.full((1, 3, x.shape[2] * scale, x.shape[3] * scale), float("nan"))
    like = x.new_empty(0)
    store = Store(like.device, like.dtype, limits or Limits())
    with torch.inference_mode():
        Streamer(program, store=store, like=like, tile=tile, progress=progress).run(x, out)
    return out


def program_of(network: SRNetwork, x: Tensor) -> Program:
    program = stages_of(network, x.shape[2], x.shape[3])
    assert program is not None
    return program


def untiled(network: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(x)


def sizes_for(network: SRNetwork, sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [size for size in sizes if min(size) >= network.minimum_size]


def check(network: SRNetwork, size: tuple[int, int], tiles: list[int]) -> None:
    """Equal to the untiled result, or at least as near to the one in float64."""
    x = image(*size)
    expected = untiled(network, x)
    for tile in tiles:
        found = stream(program_of(network, x), x, network.scale, tile)
        difference = (found - expected).abs().max().item()
        if not difference <= TOLERANCE:  # some networks amplify rounding; then both must be as near to the truth
            truth = untiled(network.double(), x.double())
            network.float()
            assert (found - truth).abs().max() <= 1.1 * (expected - truth).abs().max(), (size, tile, difference)


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_equal_the_whole_image(name: str) -> None:
    network = build(name)
    sizes = sizes_for(network, SIZES)[:: 4 if name == "v2-ultimate" else 2]
    for number, size in enumerate(sizes):
        check(network, size, [TILES[number % 3]])


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_equal_the_whole_image_at_every_size(name: str, size: tuple[int, int]) -> None:
    network = build(name)
    if sizes_for(network, [size]):
        check(network, size, TILES)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - UNTILED_ONLY))
def test_tiles_of_the_original_networks(shared: Path, name: str) -> None:
    network = load_golden(read(shared / "golden" / f"{name}.safetensors"))
    for number, size in enumerate(sizes_for(network, SIZES)):
        check(network, size, [TILES[number % len(TILES)]])


@pytest.mark.parametrize("name", ["v1-pixelshuffle", "v2-release-pro", "v2-dualpath-v8-photo"])
def test_random_networks_do_use_the_whole_image(name: str) -> None:
    """Guards the tests above: plain tiles would be wrong."""
    network, x = build(name), image(48, 48)
    assert (untiled(network, x[..., :24, :24]) - untiled(network, x)[..., :48, :48]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["v1-ln", "v2-magic", "v2-release-stream"])
def test_a_network_as_one_stage(name: str) -> None:
    network, x = build(name), image(61, 70)
    program = convolutional(network, 61, 70)
    assert program is not None
    assert len(program.stages) == 1
    found = stream(program, x, network.scale, 24)
    assert (found - untiled(network, x)).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", ["v2-release-realtime", "v2-dualpath-v6-photo", "v2-release-pro", "v1-magic"])
def test_half_precision_is_no_worse_tiled(name: str) -> None:
    network, x = build(name), image(48, 56)
    truth = untiled(network, x)
    network, half = network.bfloat16(), x.bfloat16()
    plain = (untiled(network, half).float() - truth).abs()
    tiled = (stream(program_of(network, half), half, network.scale, 23) - truth).abs()
    assert tiled.mean() <= 1.02 * plain.mean()
    assert tiled.max() <= 1.25 * plain.max()  # single roundings fall differently


def failing_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Make the allocator fail once, at the tile of this number; returns the tile sizes that were tried."""
    tried: list[int] = []
    compute = Streamer.compute

    def limited(self: Streamer, *arguments: Any) -> Any:
        tried.append(self.tile)
        result = compute(self, *arguments)
        if len(tried) == number + 1:  # the work of the tile is lost with it
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried ...")
        return result

    monkeypatch.setattr(Streamer, "compute", limited)
    return tried


@pytest.mark.parametrize("name", ["v1-pixelshuffle", "v2-release-pro"])
def test_memory_may_run_out_at_any_tile(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = build(name), image(20, 40)
    expected = untiled(network, x)
    with monkeypatch.context() as patch:
        total = len(tried_all(failing_at(patch, -1), network, x))
    for number in range(total):
        with monkeypatch.context() as patch:
            tried = failing_at(patch, number)
            found = stream(program_of(network, x), x, network.scale, 32)
        assert (found - expected).abs().max() <= TOLERANCE, number
        assert tried[number] == 32
        assert set(tried[number + 1 :]) == {16} or number == total - 1


def tried_all(tried: list[int], network: SRNetwork, x: Tensor) -> list[int]:
    stream(program_of(network, x), x, network.scale, 32)
    return tried


def test_out_of_memory_at_the_smallest_tile_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Streamer, "compute", never)
    network, x = build("v1-pixelshuffle"), image(40, 40)
    with pytest.raises(MemoryError, match="even with tiles"):
        stream(program_of(network, x), x, network.scale, 32)


@pytest.mark.parametrize("limits", [Limits(device=0, host=1e9), Limits(device=0, host=0), Limits(device=1e5, host=2e5)])
def test_maps_may_lie_in_any_memory(limits: Limits, tmp_path: Path) -> None:
    network, x = build("v2-release-pro"), image(40, 56)
    out, like = torch.empty(1, 3, 80, 112), torch.empty(0)
    store = Store(like.device, like.dtype, limits, tmp_path)
    with torch.inference_mode():
        Streamer(program_of(network, x), store=store, like=like, tile=16).run(x, out)
    assert (out - untiled(network, x)).abs().max() <= TOLERANCE
    assert (store.files > 0) == (limits.host < 1e9)
    assert not list(tmp_path.iterdir())


class _StopAfter(Progress):
    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def show(self, *, final: bool = False) -> None:
        if self.done > self._share * self.total:
            self.cancel()


def test_cancelling_stops_between_tiles() -> None:
    network, x = build("v2-release-pro"), image(64, 64)
    progress = _StopAfter(0.3)
    with pytest.raises(CancelledError):
        stream(program_of(network, x), x, network.scale, 16, progress=progress)
    assert 0.3 < progress.done / progress.total < 0.4


def test_progress_reaches_the_end() -> None:
    network, x = build("v2-release-pro"), image(64, 50)
    progress = Progress()
    stream(program_of(network, x), x, network.scale, 16, progress=progress)
    assert progress.done == pytest.approx(progress.total)
