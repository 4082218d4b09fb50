"""A model whose images go through a backend, and which everything else takes for the model it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import torch

from paragon_arch.errors import InvalidOptionError
from paragon_arch.loading import Opened
from paragon_arch.model import FamilyModel
from paragon_arch.networks.base import SRNetwork, Traits

from ..progress import log
from . import Backend, Precision, Runner, backend
from .choose import choose
from .guard import Guarded, ladder
from .network import BackendNetwork

if TYPE_CHECKING:
    from paragon_arch import ParagonModelDescriptor

PrecisionChoice = Precision | Literal["auto"]
Model = TypeVar("Model", "ParagonModelDescriptor", FamilyModel)


def with_backend(model: Model, name: str = "torch", *, precision: PrecisionChoice = "auto") -> Model:
    """The same kind of object of the same model that runs on a backend.

    Args:
        model: on the device that does the work, in FP32.
        name: a backend's name, or "auto" for the fastest one here (measured once, which takes some seconds).
        precision: "auto" is FP32 on a CPU and, on CUDA, the half precision that the layout holds. A tile that is
            not finite in half precision is computed again in a more precise one, and reported.

    Raises:
        InvalidOptionError: an unknown name, or something that the backend cannot do; the message says what can.
    """
    if precision not in ("auto", "fp32", "fp16", "bf16"):
        raise InvalidOptionError(f"precision {precision!r} is unknown: choose auto, fp32, fp16 or bf16")
    network, device = model.model, model.device
    first = default_precision(network.traits, device) if precision == "auto" else precision
    item = choose(network, device=device, precision=first) if name == "auto" else backend(name)
    run = make_runner(item, network, device=device, precision=first)
    log.info("backend %s, %s", item.name, first)
    steps = ladder(first, network.traits, ("fp32", "fp16", "bf16"))
    worker = BackendNetwork(network, run, precisions=steps)
    return type(model)(Opened(worker, model.layout, model.report))


def default_precision(traits: Traits, device: torch.device) -> Precision:
    """FP32, or on CUDA the half precision that a network of these traits holds."""
    if device.type != "cuda":
        return "fp32"
    if traits.half:
        return "fp16"
    return "bf16" if traits.bfloat16 and torch.cuda.is_bf16_supported() else "fp32"


def make_runner(item: Backend, network: SRNetwork, *, device: torch.device, precision: Precision) -> Runner:
    """A runner of a backend, guarded against overflow where its precision can overflow."""
    first = item.prepare(network, device=device, precision=precision)
    if precision == "fp32":
        return first

    def make(step: Precision) -> Runner:
        if step == precision:
            return first
        with torch.inference_mode(mode=False):  # rebuilding a network may differentiate
            return item.prepare(network, device=device, precision=step)

    return Guarded(make, ladder(precision, network.traits, item.precisions))
