"""Building a network for training."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

import paragon_arch
from paragon_arch.errors import InvalidOptionError
from paragon_arch.fusion import fuse_network
from paragon_arch.layouts import LAYOUTS, Layout, State
from paragon_arch.networks.base import SRNetwork, structure_only
from paragon_arch.networks.dynamic import TrackedTransformer
from paragon_engine.quantize import prepare_qat

from .config import SIZES, ModelConfig

log = logging.getLogger(__name__)

BLOCK = re.compile(r"body\.\d+\.blocks\.\d+$")
"""Names of the modules that gradient checkpointing recomputes."""


def find_layout(name: str) -> Layout:
    """A layout by its id.

    Raises:
        InvalidOptionError: there is none of that name.
    """
    layouts = {layout.id: layout for layout in LAYOUTS}
    if name not in layouts:
        raise InvalidOptionError(f"model.layout = {name!r} is unknown; known: {', '.join(layouts)}")
    return layouts[name]


def hyperparameters(config: ModelConfig) -> dict[str, Any]:
    """Constructor arguments of the recipe's network.

    Raises:
        InvalidOptionError: the layout has no such variant.
    """
    layout = find_layout(config.layout)
    variants = {variant.name: variant for variant in reversed(layout.variants)}
    if config.variant not in variants:
        known = ", ".join(sorted(variants))
        raise InvalidOptionError(f"model.variant = {config.variant!r} is unknown in {layout.id}; known: {known}")
    shape = dict(variants[config.variant].shape)
    _resize(shape, config)
    if config.window_size == 0:
        shape["window_size"] = None
    given = {"scale": config.scale, "alpha": config.alpha, "window_size": config.window_size}
    for unknown in layout.unknowns:
        if unknown.name not in shape and unknown.applies(shape):
            value = given.get(unknown.name)
            shape[unknown.name] = layout.default(unknown, shape) if value is None else value
    shape["scale"] = config.scale
    with structure_only():  # what its tensors prove wins: a variant without attention has no window
        proven = layout.read(State(layout.network(**shape).state_dict()))
    return {**shape, **{unknown.name: proven[unknown.name] for unknown in layout.unknowns if unknown.name in proven}}


def _resize(shape: dict[str, Any], config: ModelConfig) -> None:
    """Take over the recipe's own sizes."""
    for name in SIZES:
        value = getattr(config, name)
        if value is not None:
            shape[name] = value


def build(config: ModelConfig, *, seed: int) -> SRNetwork:
    """A new network with the recipe's initial values or the weights of ``config.start``.

    Raises:
        InvalidOptionError: no such layout or variant, or the checkpoint to start from does not fit.
        CheckpointError: that checkpoint cannot be read.
    """
    arguments = hyperparameters(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = find_layout(config.layout).network(**arguments)
    if config.start is not None:
        take = _transfer_weights if config.transfer else _copy_weights
        take(network, Path(config.start))
    elif config.init == "data":
        _initialise(network, config)
    return _rounding(network) if config.qat else network


def _rounding(network: SRNetwork) -> SRNetwork:
    """The fused network with fake quantisation, ready to train."""
    fused = fuse_network(network, accept_identity=True).network
    prepare_qat(fused)
    return fused


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
        network: changed in place; convolutions without bias are left alone.
        batch: ``(N, 3, h, w)`` low-resolution patches.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and _is_trained(layer)]
    first, *others = layers
    first.weight[::2] -= first.weight[::2].mean(dim=(2, 3), keepdim=True)
    handles = [layer.register_forward_hook(_normalise_layer) for layer in (first, *others[:-1])]
    network(batch)
    for handle in handles:
        handle.remove()


def _is_trained(layer: nn.Conv2d) -> bool:
    return layer.weight.requires_grad and layer.bias is not None


def _normalise_layer(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook: rescales the layer and returns what it would have put out then."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    std, mean = torch.std_mean(output, dim=(0, 2, 3))
    std = std.clamp_min(1e-6)
    layer.weight /= std.view(-1, 1, 1, 1)
    layer.bias.copy_((layer.bias - mean) / std)
    return (output - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


def recompute_blocks(network: SRNetwork) -> int:
    """Make the blocks keep only their inputs and run again in the backward pass; returns how many there are.

    The second run does not track dynamic kernels again.
    """
    modules = cast("Iterator[tuple[str, nn.Module]]", network.named_modules())  # torch's stubs know half of it
    blocks = [module for name, module in modules if BLOCK.search(name)]
    for block in blocks:
        block.forward = _recomputed(block)
    return len(blocks)


def _recomputed(block: nn.Module) -> Any:
    forward = block.forward

    def run(*inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(*inputs)
        contexts = lambda: (nullcontext(), _tracking_paused(block))  # noqa: E731 - torch wants a function
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)  # pyright: ignore

    return run


@contextmanager
def _tracking_paused(block: nn.Module) -> Generator[None, None, None]:
    found = [module for module in block.modules() if isinstance(module, TrackedTransformer)]
    kept = [(module.steps, module.interval) for module in found]
    for module in found:
        module.steps, module.interval = 1, 2
    try:
        yield
    finally:
        for module, (steps, interval) in zip(found, kept, strict=True):
            module.steps, module.interval = steps, interval


def set_tracking_step(network: nn.Module, step: int) -> None:
    """Tell dynamic layers how many training steps there have been, for those that track only now and then."""
    for module in network.modules():
        if isinstance(module, TrackedTransformer):
            module.steps = step


def _copy_weights(network: SRNetwork, path: Path) -> None:
    state, own = paragon_arch.load(path, scale=network.scale).model.state_dict(), network.state_dict()
    fitting = _fitting(state, own)
    wrong = [key for key in {**own, **state} if key not in fitting]
    if wrong:
        raise InvalidOptionError(f"model.start = {path}: not of the recipe's layout and size ({wrong[0]} differs)")
    network.load_state_dict(state)


def _transfer_weights(network: SRNetwork, path: Path) -> None:
    """What fits of a network of another scale; the rest keeps its initial values (Lim et al. 2017, EDSR)."""
    found, own = paragon_arch.load(path), network.state_dict()
    if not isinstance(found.model, type(network)):
        raise InvalidOptionError(f"model.start = {path}: of layout {found.layout.id}, not of the recipe's")
    fitting = _fitting(found.model.state_dict(), own)
    if len(fitting) < len(own) / 2:
        raise InvalidOptionError(
            f"model.start = {path}: only {len(fitting)} of {len(own)} tensors fit the recipe's size"
        )
    log.info("%d of %d tensors from %s", len(fitting), len(own), path)
    network.load_state_dict(fitting, strict=False)


def _fitting(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict that another one has in the same shape."""
    return {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
