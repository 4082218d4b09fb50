"""Exact tiling: the result of the whole image, for every layout, size and tile, through failures of memory."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paragon_arch.errors import CancelledError
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.programs import convolutional, stages_of
from paragon_arch.networks.stages import Moments, Program, power_sums
from paragon_engine.inference import InferenceForm, form_stages, inference_form
from paragon_engine.progress import Progress
from paragon_engine.tiling.buffers import Limits, Store
from paragon_engine.tiling.streaming import Streamer
from tests.devices import within
from tests.engine.exact_models import NETWORKS, build, image, load_golden
from tests.golden import NAMES, read

TOLERANCE = within(1e-5)
SIZES = [(1, 1), (1, 41), (37, 1), (2, 3), (7, 7), (13, 64), (16, 16), (31, 29), (32, 48), (33, 65), (47, 53), (96, 40)]
TILES = [16, 23, 32, 48, 64]
UNTILED_ONLY = {"v2-atd_pro-shrunk32_x2"}
LONG = {"v2-ultimate": 4}
"""Networks of many layers: the default run takes every n-th size."""
CHAINS = [name for name in NETWORKS if not name.startswith(("v2-static", "v2-hybrid", "v2-ultimate"))]
"""Networks whose inference form has stages of its own."""


def stream(
    program: Program,
    x: Tensor,
    scale: int,
    tile: int,
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Tensor:
    out = x.new_full((1, 3, x.shape[2] * scale, x.shape[3] * scale), float("nan"))
    like = x.new_empty(0)
    store = Store(like.device, like.dtype, limits or Limits(), channels_last=program.channels_last)
    with torch.inference_mode():
        Streamer(program, store=store, like=like, tile=tile, progress=progress).run(x, out)
    return out


def program_of(network: nn.Module, x: Tensor) -> Program:
    height, width = x.shape[-2:]
    form = isinstance(network, InferenceForm)
    program = form_stages(network, height, width) if form else stages_of(network, height, width)
    assert program is not None
    return program


def untiled(network: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(x)


def sizes_for(network: SRNetwork, sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [size for size in sizes if min(size) >= network.minimum_size]


def check(network: SRNetwork | InferenceForm, size: tuple[int, int], tiles: list[int]) -> None:
    """Equal to the untiled result, or at least as near to the one in float64."""
    x = image(*size)
    expected = untiled(network, x)
    for tile in tiles:
        found = stream(program_of(network, x), x, network.scale, tile)
        difference = (found - expected).abs().max().item()
        if not difference <= TOLERANCE:  # some networks amplify rounding; then both must be as near to the truth
            truth = untiled(copy.deepcopy(network).cpu().double(), x.cpu().double())  # not every device has float64
            ours, plain = ((y.cpu() - truth).abs().max() for y in (found, expected))
            assert ours <= 1.1 * plain, (size, tile, difference)


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_equal_the_whole_image(name: str) -> None:
    """Every size, with tiles of every size among them."""
    network = build(name)
    for number, size in enumerate(sizes_for(network, SIZES)):
        if number % LONG.get(name, 1) == 0:
            check(network, size, [TILES[number % len(TILES)]])


@pytest.mark.parametrize("name", CHAINS)
def test_tiles_of_the_inference_form_equal_the_whole_image(name: str) -> None:
    network = build(name)
    form = inference_form(network)
    for number, size in enumerate(sizes_for(network, SIZES)):
        check(form, size, [TILES[(number + 2) % len(TILES)]])


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_size_with_every_tile(name: str, size: tuple[int, int]) -> None:
    network = build(name)
    if sizes_for(network, [size]):
        check(network, size, TILES)
        if name in CHAINS:
            check(inference_form(network), size, TILES)


@pytest.mark.slow
@pytest.mark.exhaustive
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["v2-release-realtime", "v2-dualpath-v6-photo", "v2-release-pro", "v1-pixelshuffle"])
def test_half_precision_is_no_worse_tiled(name: str, dtype: torch.dtype) -> None:
    """Over a few networks, because the error of one hangs on how single roundings fall."""
    errors: list[tuple[float, float, float, float]] = []
    for seed in range(3):
        network, x = build(name, seed), image(24, 40, seed)
        truth = untiled(network, x)
        for module in (network, inference_form(network)):
            half, narrow = copy.deepcopy(module).to(dtype), x.to(dtype)
            plain = (untiled(half, narrow).float() - truth).abs()
            tiled = (stream(program_of(half, narrow), narrow, network.scale, 23) - truth).abs()
            errors.append((tiled.mean().item(), plain.mean().item(), tiled.max().item(), plain.max().item()))
    mean, plain_mean, worst, plain_worst = (sum(values) for values in zip(*errors, strict=True))
    assert mean <= 1.05 * plain_mean
    assert worst <= 1.1 * plain_worst


def test_statistics_are_summed_in_double_precision() -> None:
    """A mean a million times the deviation: single precision would leave nothing of the variance."""
    x = torch.randn(1, 2, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e6
    program = Program(64, 64)
    found: list[Moments] = []

    def settle(total: Tensor, pixels: int) -> Moments:
        found.append(Moments.settle(total, pixels))
        return found[-1]

    value = program.reduce(power_sums, program.image, settle=settle)
    program.map(lambda x, _: x, program.image, value)
    Streamer(program, store=Store(x.device, x.dtype, Limits()), like=x.new_empty(0), tile=16).run(
        x, torch.empty_like(x)
    )
    assert found[0].mean == pytest.approx(x.mean().item(), rel=1e-12)
    assert found[0].variance == pytest.approx(x.var(correction=0).item(), rel=1e-2)


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


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("name", ["v1-pixelshuffle", "v2-release-pro"])
def test_memory_may_run_out_at_any_tile(name: str, form: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, x = build(name), image(20, 40)
    network = inference_form(plain) if form else plain
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


def tried_all(tried: list[int], network: SRNetwork | InferenceForm, x: Tensor) -> list[int]:
    stream(program_of(network, x), x, network.scale, 32)
    return tried


def test_out_of_memory_at_the_smallest_tile_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Streamer, "compute", never)
    network, x = build("v1-pixelshuffle"), image(40, 40)
    with pytest.raises(MemoryError, match="even with tiles"):
        stream(program_of(network, x), x, network.scale, 32)


class _StopAfter(Progress):
    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def show(self, *, final: bool = False) -> None:
        if self.done > self._share * self.total:
            self.cancel()


def test_cancelling_stops_within_a_tile() -> None:
    """However many stages a tile passes through, none is computed after the button was pressed."""
    network, x = build("v2-release-realtime"), image(64, 64)
    progress, program, seen = Progress(), program_of(network, x), 0

    def counted(apply: Any) -> Any:
        def run(*arguments: Any) -> Tensor:
            nonlocal seen
            seen += 1
            if seen == 2:
                progress.cancel()
            return apply(*arguments)

        return run

    program.stages = [replace(stage, apply=counted(stage.apply)) for stage in program.stages]
    with pytest.raises(CancelledError):
        stream(program, x, network.scale, 64, progress=progress)
    assert seen == 2
    assert progress.done == 0


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
