"""Building a network for training."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

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


@torch.no_grad()
def normalise(network: nn.Module, batch: Tensor) -> None:
    """Scale and shift every trained convolution but the last so that its output on a batch has mean 0 and std 1.

    Data-dependent initialisation as by Salimans and Kingma 2016. Without it the signals before the GELUs are so small
    (std 0.05) that the network works as a linear filter and stays one. Every second filter of the first layer is
    first made blind to flat areas, because edges are faint beside differences of brightness.

    Args:
        network: changed in place.
        batch: ``(N, 3, h, w)`` low-resolution patches.
    """
    first, *others = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and _is_trained(layer)]
    first.weight[::2] -= first.weight[::2].mean(dim=(2, 3), keepdim=True)
    handles = [layer.register_forward_hook(_normalise_layer) for layer in (first, *others[:-1])]
    network(batch)
    for handle in handles:
        handle.remove()


def _is_trained(layer: nn.Conv2d) -> bool:
    return layer.weight.requires_grad


def _normalise_layer(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook: rescales the layer and returns what it would have put out then."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    std, mean = torch.std_mean(output, dim=(0, 2, 3))
    std = std.clamp_min(1e-6)
    layer.weight /= std.view(-1, 1, 1, 1)
    layer.bias.copy_((layer.bias - mean) / std)
    return (output - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


def _copy_weights(network: SRNetwork, path: Path) -> None:
    state = paragon_arch.load(path, scale=network.scale).model.state_dict()
    own = network.state_dict()
    wrong = [
        key for key in {**own, **state} if key not in own or key not in state or own[key].shape != state[key].shape
    ]
    if wrong:
        raise InvalidOptionError(f"model.start = {path}: not of the recipe's layout and size ({wrong[0]} differs)")
    network.load_state_dict(state)
