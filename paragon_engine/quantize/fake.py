"""Quantisation-aware training: convolutions that compute as their INT8 counterparts will.

`prepare_qat` puts them into a fused network, training continues as before, `save_qat` writes the weights as an ordinary
checkpoint of the layout with the ranges beside them under ``paragonsr_quant.<module>.input_range``: two FP32 values,
lowest and highest input. Every loader of ours leaves these tensors out of the weights; `quantize` exports such a
checkpoint without calibrating again. Rounding passes gradients straight through (Jacob et al. 2018).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

import paragon_arch
from paragon_arch.copying import private_copy
from paragon_arch.errors import InvalidOptionError
from paragon_arch.files.checkpoint import read_checkpoint
from paragon_arch.networks.base import SRNetwork

from ..inference import inference_form

Range = tuple[float, float]

LEVELS = 255
"""Steps of an unsigned 8-bit activation."""
WEIGHT_LIMIT = 64
"""Largest magnitude of a 7-bit weight, as ONNX Runtime's reduced range has it."""
MOMENTUM = 0.02
"""Of the running average that a range follows in training."""
RANGE_SUFFIX = ".input_range"


class FakeQuantConv2d(nn.Conv2d):
    """A convolution of a rounded image with rounded weights.

    In training mode the range follows the batches until `freeze_ranges`; in evaluation mode it stands.

    Attributes:
        input_range: ``[2]``, lowest and highest input; equal while nothing was seen, and then nothing is rounded.
        enabled: round; otherwise it is the convolution that it was made from.
        frozen: the range no longer follows the batches.
        origin: name of the module in the network.
    """

    input_range: Tensor

    @classmethod
    def of(cls, conv: nn.Conv2d, origin: str) -> FakeQuantConv2d:
        """Take a convolution's place: the parameters are the same objects."""
        fake = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # pyright: ignore[reportArgumentType] - a pair, which torch's stubs type as any length
            stride=conv.stride,  # pyright: ignore[reportArgumentType]
            padding=conv.padding,  # pyright: ignore[reportArgumentType]
            dilation=conv.dilation,  # pyright: ignore[reportArgumentType]
            groups=conv.groups,
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
            device="meta",
        )
        fake.weight, fake.bias = conv.weight, conv.bias
        fake.register_buffer("input_range", torch.zeros(2, device=conv.weight.device), persistent=False)
        fake.enabled, fake.frozen, fake.origin = True, False, origin
        return fake.train(conv.training)

    enabled: bool
    frozen: bool
    origin: str

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Conv2d's own name
        """``(N, C, H, W)`` to what the INT8 convolution gives, up to the rounding of its sums."""
        if self.training and not self.frozen:
            self.observe(input, MOMENTUM)
        if not self.enabled or bool(self.input_range[0] == self.input_range[1]):
            return super().forward(input)
        rounded = round_activation(input, self.input_range)
        return self._conv_forward(rounded, round_weight(self.weight), self.bias)

    @torch.no_grad()
    def observe(self, x: Tensor, momentum: float) -> None:
        """Move the range towards that of a batch; the first batch sets it."""
        seen = torch.stack((x.min(), x.max())).float()
        empty = bool(self.input_range[0] == self.input_range[1])
        self.input_range.lerp_(seen, 1.0 if empty else momentum)


def round_activation(x: Tensor, bounds: Tensor) -> Tensor:
    """Round to the 256 steps of an unsigned 8-bit activation; zero is always one of them."""
    low, high = bounds[0].clamp(max=0), bounds[1].clamp(min=0)
    scale = (high - low) / LEVELS
    zero = (-low / scale).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, LEVELS)


def round_weight(weight: Tensor) -> Tensor:
    """Round each filter to 7 bits, symmetrically around zero."""
    scale = weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / WEIGHT_LIMIT
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -WEIGHT_LIMIT, WEIGHT_LIMIT)


def prepare_qat(
    network: SRNetwork, *, only: Collection[str] | None = None, ranges: Mapping[str, Range] | None = None
) -> tuple[str, ...]:
    """Put fake quantisation into a fused network, in place.

    Args:
        network: fused, or without training branches; `paragon_arch.fuse` makes one.
        only: names of the convolutions; None takes those that the exported graph has, too: not the fixed filters, and
            not those that the inference form merges with others.
        ranges: of an earlier training, by module name: training goes on with them, and no other layer is rounded.

    Returns:
        Names of the convolutions that were replaced.

    Raises:
        InvalidOptionError: the network is not fused, or has none of these convolutions.
    """
    if network.fusible and not network.fused:
        raise InvalidOptionError("quantisation-aware training needs a fused network: fuse it first (paragon_arch.fuse)")
    names = set(surviving(network) if only is None and ranges is None else only or ()) | set(ranges or {})
    chosen = {name: conv for name, conv in _convolutions(network).items() if name in names}
    if not chosen:
        raise InvalidOptionError("the network has no such convolution to quantise: check the names")
    for name, conv in chosen.items():
        parent, _, child = name.rpartition(".")
        fake = FakeQuantConv2d.of(conv, name)
        if ranges is not None and name in ranges:
            fake.input_range.copy_(torch.tensor(ranges[name]))
        setattr(network.get_submodule(parent), child, fake)
    return tuple(chosen)


def surviving(network: SRNetwork) -> tuple[str, ...]:
    """Names of the convolutions that are still layers of their own in the network's inference form."""
    twin = private_copy(network)
    prepare_qat(twin, only=_convolutions(twin))
    enable(fakes(twin), False)
    found = named_fakes(inference_form(twin, target="graph"))
    # a chain computes the frame of the image only
    return tuple(layer.origin for name, layer in found.items() if ".chain." not in name)


def fakes(network: nn.Module) -> list[FakeQuantConv2d]:
    """The fake-quantised convolutions of a network."""
    return list(named_fakes(network).values())


def named_fakes(network: nn.Module) -> dict[str, FakeQuantConv2d]:
    """The fake-quantised convolutions of a network, or a form of one, by their names in it."""
    return {name: conv for name, conv in _convolutions(network).items() if isinstance(conv, FakeQuantConv2d)}


def _convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    modules = cast("Iterator[tuple[str, nn.Module]]", network.named_modules())  # torch's stubs know half of it
    return {name: module for name, module in modules if isinstance(module, nn.Conv2d)}


@torch.no_grad()
def calibrate_fake_quantization(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every range to the extremes over some batches ``(N, C, H, W)``, which run in FP32."""
    layers, was = fakes(network), network.training
    extremes: dict[str, Tensor] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, FakeQuantConv2d)
        low, high = inputs[0].min(), inputs[0].max()
        old = extremes.get(module.origin)
        low, high = (low, high) if old is None else (torch.minimum(low, old[0]), torch.maximum(high, old[1]))
        extremes[module.origin] = torch.stack((low, high))

    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    enable(layers, False)
    network.eval()
    try:
        for batch in batches:
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
        enable(layers, True)
        network.train(was)
    for layer in layers:
        if layer.origin in extremes:
            layer.input_range.copy_(extremes[layer.origin])


def freeze_ranges(network: nn.Module, *, frozen: bool = True) -> None:
    """Stop the ranges from following the batches, for the last part of a training."""
    for layer in fakes(network):
        layer.frozen = frozen


def enable(layers: Iterable[FakeQuantConv2d], enabled: bool) -> None:
    """Switch rounding on or off."""
    for layer in layers:
        layer.enabled = enabled


def ranges_of(network: nn.Module) -> dict[str, Range]:
    """Ranges by module name; layers that have seen nothing are left out."""
    pairs = {layer.origin: (float(layer.input_range[0]), float(layer.input_range[1])) for layer in fakes(network)}
    return {name: pair for name, pair in pairs.items() if pair[0] < pair[1]}


def save_qat(network: SRNetwork, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a network with fake quantisation as a checkpoint that `quantize` exports without calibrating.

    Raises:
        InvalidOptionError: it has none, or none that has seen a picture.
        OutputExistsError: the file exists and ``overwrite`` is False.
    """
    ranges = ranges_of(network)
    if not ranges:
        raise InvalidOptionError("no range to save: prepare_qat the network, and train or calibrate it first")
    tensors = {name + RANGE_SUFFIX: torch.tensor(pair) for name, pair in ranges.items()}
    paragon_arch.save(network, path, overwrite=overwrite, quantization=tensors)


def stored_ranges(path: str | os.PathLike[str]) -> dict[str, Range]:
    """Ranges that a checkpoint of quantisation-aware training stores, by module name; {} for any other checkpoint.

    Raises:
        CheckpointError: the file cannot be read.
    """
    stored = read_checkpoint(path).quantization
    found = {key.removesuffix(RANGE_SUFFIX): tensor for key, tensor in stored.items() if key.endswith(RANGE_SUFFIX)}
    for name, tensor in found.items():
        if tensor.shape != (2,) or not bool(tensor.isfinite().all()) or not bool(tensor[0] < tensor[1]):
            raise InvalidOptionError(f"{path}: the stored range of {name!r} is no pair of rising finite numbers")
    return {name: (float(tensor[0]), float(tensor[1])) for name, tensor in found.items()}
