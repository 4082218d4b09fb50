"""The order of tokens in v2-atd's pro, which its graphs fix and the network itself leaves to the platform."""

from __future__ import annotations

from torch import nn

from paragon_arch.copying import private_copy
from paragon_arch.networks.v2_atd import CategoryAttention


def comparable(network: nn.Module) -> nn.Module:
    """What a graph of the network computes: the network itself, or a copy of v2-atd's pro with the stable order."""
    if not sorts_tokens(network):
        return network
    network = private_copy(network)
    for module in network.modules():
        if isinstance(module, CategoryAttention):
            module.stable = True
    return network


def sorts_tokens(network: nn.Module) -> bool:
    """Whether the network groups tokens in an order that differs between platforms, and from its graph's."""
    return any(isinstance(module, CategoryAttention) for module in network.modules())
