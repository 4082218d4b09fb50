"""What is measured: each form of a network on each backend that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import nn

from paragon_arch.networks.base import SRNetwork

from ..backends import Runner, backend
from ..backends.base import GraphBackend
from ..backends.forms import fused
from ..backends.pytorch import ModuleRunner
from ..inference import PASSES, inference_form
from ..onnx_export import export_onnx
from ..upscaler import Upscaler

Reference = Callable[[SRNetwork], nn.Module]
"""Makes the form that everything is compared with."""


@dataclass(frozen=True)
class Subject:
    """One line of the benchmark."""

    form: str
    """"reference", "fused", "inference", or "inference up to PASS"."""
    backend: str
    prepare: Callable[[], Runner]
    module: Callable[[], nn.Module] | None = field(default=None, repr=False)
    """The form as a module, where its work is to be counted."""
    partial: bool = False
    """An inference form without its last passes."""


def subjects(
    network: SRNetwork, names: Sequence[str], *, reference: Reference | None, passes: bool, device: torch.device
) -> list[Subject]:
    """All that is compared for a network, the baseline first.

    Args:
        network: any of the family.
        names: backends.
        reference: None makes the fused network the baseline.
        passes: also the inference form after each of its passes.
        device: where to run.
    """
    plain = fused(network)
    result = [] if reference is None else [_eager("reference", lambda: reference(network), device)]
    result += [_eager("fused", lambda: plain, device)]
    if passes:
        result += _after_each_pass(plain, device)
    graph = None if reference is None else cache(lambda: export_onnx(reference(network)))
    for name in names:
        result += _on_backend(plain, name, graph, device)
    return result


def _eager(form: str, make: Callable[[], nn.Module], device: torch.device) -> Subject:
    return Subject(form, "torch", lambda: ModuleRunner(make(), device, torch.float32), make)


def _after_each_pass(network: SRNetwork, device: torch.device) -> list[Subject]:
    applied = inference_form(network).applied
    order = [step.name for step in PASSES if step.name in applied]

    def make(count: int) -> Callable[[], nn.Module]:
        return lambda: inference_form(network, passes=order[:count])

    return [
        replace(_eager(f"inference up to {name}", make(index + 1), device), module=None, partial=True)
        for index, name in enumerate(order[:-1])
    ]


def _on_backend(
    network: SRNetwork, name: str, reference: Callable[[], bytes] | None, device: torch.device
) -> list[Subject]:
    item, result = backend(name), list[Subject]()
    if isinstance(item, GraphBackend) and reference is not None:
        result += [Subject("reference", name, lambda: item.runner(reference(), device))]

    def ready() -> Runner:
        return Upscaler(network, device=device, backend=name, precision="fp32").whole

    module = (lambda: inference_form(network)) if name == "torch" else None
    return [*result, Subject("inference", name, ready, module)]
