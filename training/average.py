"""The exponential moving average of a network, which is what is measured and exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


def trained(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters that are not frozen."""
    return ((name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad)


def moving(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What an average follows: trained parameters and floating-point buffers, such as tracked kernels."""
    yield from trained(network)
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            yield name, buffer


class Average:
    """Average of a network's trained parameters and floating-point buffers.

    Flags and counters cannot be averaged: they are taken from the network when the average is used (`state`), so that
    an averaged tracked kernel never claims not to have been tracked. Frozen parameters likewise.

    The decay rises to its full value as ``(1 + n) / (10 + n)``, so that early averages are not stuck at the start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: value.detach().clone() for name, value in moving(network)}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards the network's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        names, values = zip(*moving(network), strict=True)
        torch._foreach_lerp_([self.values[name] for name in names], values, 1 - decay)  # pyright: ignore

    def state(self, network: nn.Module) -> dict[str, Tensor]:
        """A complete state dict: averages, and the network's own values where there is none."""
        own = network.state_dict()
        return {**own, **{name: value for name, value in self.values.items() if name in own}}

    @torch.no_grad()
    def into(self, target: nn.Module, network: nn.Module) -> None:
        """Give a network of the same structure the averaged values, ranges of fake quantisation included."""
        target.load_state_dict(self.state(network))
        copy_buffers(target, self.values)


@torch.no_grad()
def copy_buffers(network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Set buffers, those that no state dict holds included."""
    for name, buffer in network.named_buffers():
        if name in values:
            buffer.copy_(values[name])
