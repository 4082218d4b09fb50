"""Whether pictures are right: every kind of network, in every precision, on every path."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from paragon_arch.networks.base import SRNetwork

from . import adapter
from .adapter import Precision
from .measuring import smooth, tensor_float
from .schedule import Case, Values

PART = "correctness"
LIMITS: dict[str, float] = {"fp32": 1e-4, "tf32": 3e-3, "fp16": 0.03, "bf16": 0.2}
"""Largest difference from float64 on the CPU; the networks are random and small, so half precision is hard on them."""
TILE = 32


def cases(device: torch.device, *, tiny: bool) -> Iterator[Case]:
    """All of this part."""
    networks = adapter.test_networks()
    names = list(networks)[:: 8 if tiny else 1]
    references: dict[str, Tensor] = {}
    for name in names:
        for mode, importance in (("fp32", 1), ("fp16", 1), ("bf16", 2), ("tf32", 3)):
            traits = networks[name].traits
            refused = {"tf32": device.type != "cuda", "fp16": not traits.half, "bf16": not traits.bfloat16}
            if refused.get(mode):  # by the device or the layout
                continue
            work = partial(one_network, networks[name], name, mode, device, references)
            yield Case(PART, f"{name}, {mode}", work, importance)
    first = networks["v2-release-pro"]
    for kind in ("device", "host", "file"):
        yield Case(PART, f"exact tiles, maps on {kind}", partial(maps, first, kind, device), 1)
    yield Case(PART, "NaN in FP16 is computed again", partial(overflow, device), 1)
    if device.type == "cuda":
        yield Case(PART, "memory runs out and tiles shrink", partial(out_of_memory, device), 1)


def one_network(
    network: SRNetwork, name: str, mode: str, device: torch.device, references: dict[str, Tensor]
) -> Values:
    """Untiled, exact tiles, overlap; the image on the host and on the device."""
    x = smooth(67, 81)
    if name not in references:
        with torch.no_grad():
            references[name] = copy.deepcopy(network).double()(x.double()).clamp(0, 1)
    precision: Precision = "fp32" if mode == "tf32" else mode  # pyright: ignore[reportAssignmentType]
    with tensor_float(mode == "tf32", device):
        model = adapter.prepared(adapter.described(copy.deepcopy(network), device), precision)
        whole = adapter.upscaled(model, x)
        found: dict[str, Callable[[], Tensor]] = {
            "untiled, from the device": lambda: adapter.upscaled(model, x.to(device)).cpu(),
            "exact tiles": lambda: adapter.upscaled(model, x, tile=TILE),
            "exact tiles, from the device": lambda: adapter.upscaled(model, x.to(device), tile=TILE).cpu(),
        }
        differences = {"untiled": _distance(whole, references[name])}
        differences |= {path: _distance(run(), references[name]) for path, run in found.items()}
        tiles = _distance(adapter.upscaled(model, x, tile=TILE), whole)
        overlapping = _distance(adapter.upscaled(model, x, tile=TILE, exact=False), references[name])
    passed = all(value <= LIMITS[mode] for value in differences.values())  # NaN is not
    return {"differences": differences, "tiles_against_untiled": tiles, "overlap": overlapping, "passed": passed}


def _distance(found: Tensor, expected: Tensor) -> float:
    return float((found.cpu().double() - expected.cpu().double().clamp(0, 1)).abs().max())


def maps(network: SRNetwork, kind: Any, device: torch.device) -> Values:
    """Maps between the stages in one kind of memory."""
    x = smooth(67, 81)
    with tensor_float(False, device):
        model = adapter.prepared(adapter.described(copy.deepcopy(network), device), "fp32")
        expected = adapter.upscaled(model, x)
        with adapter.maps_in(kind):
            worst = _distance(adapter.upscaled(model, x, tile=TILE), expected)
    return {"difference": worst, "passed": worst <= 1e-4}


def overflow(device: torch.device) -> Values:
    """Features beyond FP16's range, brought back by a later layer."""
    model = adapter.shipped()
    with torch.no_grad():
        network = model.model
        network.get_parameter("conv_in.weight").mul_(1e6)
        network.get_parameter("conv_in.bias").mul_(1e6)
        expected = network(smooth(48, 64))
    found = adapter.upscaled(adapter.prepared(model.to(device), "fp16"), smooth(48, 64))
    return {
        "finite": bool(found.isfinite().all()),
        "difference": _distance(found, expected),
        "passed": bool(found.isfinite().all()),
    }


def out_of_memory(device: torch.device) -> Values:
    """A quarter of a GiB for a picture that needs more."""
    model = adapter.prepared(adapter.described(adapter.official("v2-release", "stream", 2), device), "fp32")
    x = smooth(1080, 1920)
    expected = adapter.upscaled(model, x, tile=512)
    torch.cuda.empty_cache()
    card = cast("Any", torch.cuda.get_device_properties(device))
    total: int = card.total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (256 << 20) / total), device)
    try:
        found = adapter.upscaled(model, x, tile="auto")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    worst = _distance(found, expected)
    return {"difference": worst, "passed": worst <= 1e-4}
