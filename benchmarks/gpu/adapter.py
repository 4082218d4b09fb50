"""Every call into the libraries: where their interfaces move, this file follows and the measurements stay."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from unittest import mock

import torch
from torch import Tensor, nn

from paragon_arch import ParagonModelDescriptor, load
from paragon_arch.fusion import fuse_network
from paragon_arch.loading import Opened
from paragon_arch.networks.base import SRNetwork
from paragon_engine import Upscaler
from paragon_engine.catalog import find_model
from paragon_engine.inference import PASSES, Target, inference_form
from paragon_engine.tiling import Tiling, upscale_tensor

Precision = Literal["fp32", "fp16", "bf16"]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CPU_SHAPED = ("mish_rational", "norm_moments")
"""Passes that trade kernels for arithmetic, which pays on a CPU."""


def test_networks() -> dict[str, SRNetwork]:
    """The small networks of the tests, on the CPU: every kind of block, tail and statistic."""
    from tests.engine.exact_models import NETWORKS, build

    return {name: build(name).cpu() for name in NETWORKS}


def official(layout: str, variant: str, scale: int) -> SRNetwork:
    """An official variant with random weights, on the CPU."""
    from ..run_all import build

    return build(layout, variant, scale)


def shipped() -> ParagonModelDescriptor:
    """The default model, on the CPU."""
    return load(find_model())


def described(network: SRNetwork, device: torch.device) -> ParagonModelDescriptor:
    """A network as the descriptor that everything takes; what it says of a file is another model's."""
    other = shipped()
    model = ParagonModelDescriptor(Opened(network, other.layout, other.report)).to(device)
    # what layouts do not hold is measured, too
    model.supports_half = model.supports_bfloat16 = True  # pyright: ignore[reportAttributeAccessIssue]
    return model


def prepared(model: ParagonModelDescriptor, precision: Precision) -> Upscaler:
    """The model as users run it."""
    return Upscaler(model, device=model.device, precision=precision, halves=("fp16", "bf16"))


def upscaled(model: Upscaler, x: Tensor, *, tile: int | Literal["auto"] = 0, exact: bool = True) -> Tensor:
    """``x`` through a model, at once or in tiles."""
    tiling: Tiling = "exact" if exact else "overlap"
    return upscale_tensor(model, x, tile=tile, tiling=tiling)


def fused(network: SRNetwork) -> SRNetwork:
    """The network without training branches."""
    return fuse_network(network).network if network.fusible and not network.fused else network


def form(network: SRNetwork, *, target: Target = "eager", without: Sequence[str] = ()) -> nn.Module:
    """The inference form, less some passes."""
    names = [step.name for step in PASSES if target in step.targets and step.name not in without]
    return inference_form(fused(network), passes=names)


def predicted(model: Upscaler, x: Tensor, tile: int) -> int:
    """Bytes on the device that a run is planned with."""
    from paragon_engine.tiling import plan

    if tile:
        return int(plan.streaming_need(model, x, tile).total)
    return plan.untiled_need(model, tuple(x.shape)) or 0


def planned(model: Upscaler, x: Tensor) -> Any:
    """The plan of a run."""
    from paragon_engine.tiling.plan import make_plan

    return make_plan(model, x)


@contextmanager
def maps_in(kind: Literal["device", "host", "file"]) -> Generator[None]:
    """Let maps between the stages of exact tiles lie in one kind of memory."""
    from paragon_engine.tiling import buffers, run

    most = float("inf")
    limits = buffers.Limits(most if kind == "device" else 0, most if kind == "host" else 0)
    with mock.patch.object(run, "limits_for", return_value=limits):
        yield


def upscale_folder(model: Upscaler, source: Path, target: Path) -> int:
    """Every picture of a folder; returns how many there were."""
    from paragon_engine.jobs import upscale_files

    return len(upscale_files(model, source, target).done)


def upscale_video(model: Upscaler, source: Path, target: Path) -> None:
    """A video."""
    from paragon_engine.video import upscale_video as work

    work(model, source, target)


def upscale_pixels(model: Upscaler, pixels: Any) -> Any:
    """A picture in memory, ``(H, W, 3)`` float32."""
    from paragon_engine.pictures import Picture
    from paragon_engine.upscale import upscale_picture

    return upscale_picture(model, Picture(pixels)).pixels


@contextmanager
def node_worker(model: ParagonModelDescriptor, device: torch.device, folder: Path) -> Generator[Any]:
    """What ComfyUI's node does with a picture, with a stand-in for ComfyUI."""
    from tests.nodes.stand_in import Host

    modules: dict[str, ModuleType] = {}
    for name, attributes in Host(folder).modules().items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update(attributes)
    with mock.patch.dict(sys.modules, modules):
        from nodes.working import interruptible

        with Upscaler(model, device=device) as upscaler, interruptible():

            def work(pixels: Any) -> Any:
                return upscale_pixels(upscaler, pixels)

            yield work
