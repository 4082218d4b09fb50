"""Building a network for training."""

from __future__ import annotations

import torch

from paragon_arch.errors import InvalidOptionError
from paragon_arch.layouts.v2_release import RELEASE
from paragon_arch.networks.base import SRNetwork

from .config import ModelConfig


def build(config: ModelConfig, *, seed: int) -> SRNetwork:
    """A new network of the release layout with the recipe's initial LayerScale and detail gain.

    Raises:
        InvalidOptionError: the layout has no such variant.
    """
    variants = {variant.name: variant for variant in RELEASE.variants}
    if config.variant not in variants:
        raise InvalidOptionError(f"model.variant = {config.variant!r} is unknown; known: {', '.join(variants)}")
    shape = dict(variants[config.variant].shape)
    if config.window_size is not None:
        shape["window_size"] = config.window_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RELEASE.network(scale=config.scale, alpha=config.alpha, **shape)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".gamma"):
                parameter.fill_(config.gamma)
            elif name == "detail_gain":
                parameter.fill_(config.detail_gain)
    return network
