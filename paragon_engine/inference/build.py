"""Which passes there are, where they are applied, and the function that applies them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from paragon_arch.copying import private_copy
from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.base import SRNetwork

from .chains import Parts, take_apart
from .form import InferenceForm
from .passes import bands, contexts, gains, graphs, heads, kernels, magic, memory, norms

Target = Literal["eager", "graph"]


@dataclass(frozen=True)
class Pass:
    """One rewrite."""

    name: str
    apply: Callable[[InferenceForm], int]
    """Changes a form in place and returns the number of places."""
    targets: tuple[Target, ...] = ("eager", "graph")
    """Where it is on unless the caller says otherwise."""
    on_gpus: bool = True
    """It is on for networks on other devices than the CPU, too. What trades kernels for arithmetic is not."""


PASSES = (
    Pass("static_kernels", kernels.static_kernels),
    Pass("layer_scale_fold", gains.layer_scale_fold),
    Pass("gain_fold", gains.gain_fold),
    Pass("norm_affine_fold", norms.norm_affine_fold),
    Pass("prefilter_separable", heads.prefilter_separable, ("graph",)),
    Pass("head_merged", heads.head_merged),
    Pass("blur_last", heads.blur_last),
    Pass("tail_polyphase", magic.tail_polyphase),
    Pass("tail_merged", magic.tail_merged),
    Pass("base_merged", magic.base_merged),
    Pass("borders_apart", graphs.borders_apart, ("graph",)),
    Pass("head_phases", graphs.head_phases, ("graph",)),
    Pass("context_filters", graphs.context_filters),
    Pass("mish_sigmoid", graphs.mish_sigmoid, ("graph",)),
    Pass("norm_split", norms.norm_split, ("graph",)),
    # what follows writes into tensors or asks for their layout: a graph's own optimiser does that
    Pass("norm_moments", norms.norm_moments, ("eager",), on_gpus=False),
    Pass("context_in_place", contexts.context_in_place, ("eager",)),
    Pass("mish_rational", memory.mish_rational, ("eager",), on_gpus=False),
    Pass("in_place", memory.in_place, ("eager",)),
    Pass("row_bands", bands.row_bands, ("eager",)),
    Pass("strided_shuffle", memory.strided_shuffle, ("eager",)),
    Pass("whole_filters", memory.whole_filters, ("eager",)),
    Pass("channels_last", memory.channels_last, ("eager",)),
)
"""In the order of application, which is fixed: later passes match what earlier ones leave."""


def inference_form(
    network: SRNetwork,
    *,
    passes: Sequence[str] | None = None,
    target: Target = "eager",
    device: torch.device | None = None,
) -> InferenceForm:
    """Build the inference form of a network.

    Args:
        network: any generator of the family, fused or not; left as it is. What it does in evaluation mode is rebuilt.
        passes: names of the passes to apply, in any order; None takes those that pay for ``target`` on the device.
        target: "eager" runs the form in PyTorch as it is; "graph" is for exporting or compiling it.
        device: where it is to run; None for the network's own.

    Returns:
        A module on the network's device, in its type, with the same input and output. Layouts without a chain form
        keep their own forward pass and get the passes that need none.

    Raises:
        InvalidOptionError: a pass of that name does not exist.
    """
    like = next(network.parameters())
    chosen = _chosen(passes, target, device or like.device)
    # double precision: the products of weights are rounded once, at the end. On the CPU first, there and back: copies
    # convert on the device that they leave, and several devices have no such numbers
    twin = private_copy(network, device="cpu", dtype=torch.float64).eval().requires_grad_(False)
    parts = take_apart(twin) or Parts(twin, nn.Sequential(), nn.Sequential())
    form = InferenceForm(parts, scale=network.scale, minimum_size=network.minimum_size)
    with torch.no_grad():
        for step in chosen:
            count = step.apply(form)
            if count:
                form.applied[step.name] = count
    form = form.eval().requires_grad_(False).to(like.dtype).to(like.device)
    return form.to(memory_format=form.memory_format)  # pyright: ignore[reportCallIssue] - missing in torch's stubs


def _chosen(names: Sequence[str] | None, target: Target, device: torch.device) -> list[Pass]:
    if names is None:
        return [step for step in PASSES if target in step.targets and (step.on_gpus or device.type == "cpu")]
    known = [step.name for step in PASSES]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise InvalidOptionError(f"there is no pass {unknown[0]!r}; the passes are {', '.join(known)}")
    return [step for step in PASSES if step.name in names]
