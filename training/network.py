"""Building a network for training."""

from __future__ import annotations

from pathlib import Path

import torch

import paragon_arch
from paragon_arch.errors import InvalidOptionError
from paragon_arch.layouts.v2_release import RELEASE
from paragon_arch.networks.base import SRNetwork

from .config import ModelConfig


def build(config: ModelConfig, *, seed: int) -> SRNetwork:
    """A new network of the release layout, with the recipe's initial values or the weights of ``config.start``.

    Raises:
        InvalidOptionError: the layout has no such variant, or the checkpoint to start from is of another size.
        CheckpointError: that checkpoint cannot be read.
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
    if config.start is None:
        _initialise(network, config)
    else:
        _copy_weights(network, Path(config.start))
    return network


@torch.no_grad()
def _initialise(network: SRNetwork, config: ModelConfig) -> None:
    for name, parameter in network.named_parameters():
        if name.endswith(".gamma"):
            parameter.fill_(config.gamma)
        elif name == "detail_gain":
            parameter.fill_(config.detail_gain)


def _copy_weights(network: SRNetwork, path: Path) -> None:
    state = paragon_arch.load(path, scale=network.scale).model.state_dict()
    own = network.state_dict()
    wrong = [
        key for key in {**own, **state} if key not in own or key not in state or own[key].shape != state[key].shape
    ]
    if wrong:
        raise InvalidOptionError(f"model.start = {path}: not of the recipe's layout and size ({wrong[0]} differs)")
    network.load_state_dict(state)
