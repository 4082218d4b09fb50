"""What an `Upscaler` runs: a private network, and what must be known of it besides."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

import paragon_arch
from paragon_arch.copying import private_copy
from paragon_arch.errors import InvalidOptionError
from paragon_arch.model import channels_of, size_needs, tiles_itself
from paragon_arch.networks.base import SRNetwork

from .backends.forms import fused
from .catalog import find_model

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor


@dataclass(frozen=True)
class Subject:
    """A network, private to whoever has it, and how images go through it."""

    name: str
    """For messages."""
    network: nn.Module
    """In evaluation mode and FP32 on the CPU; one of the family is fused."""
    scale: int
    channels: tuple[int, int]
    """Of its images and of its results."""
    halves: frozenset[str]
    """The half precisions that hold its values."""
    call: Callable[[nn.Module, Tensor], Tensor] | None = None
    """Runs a module like `network` on an image; None: the module is called."""
    minimum: int = 1
    """Smallest side that it takes."""
    multiple_of: int = 1
    """What each side of its images is a multiple of."""
    square: bool = False
    """Its images are square."""
    divides: bool = False
    """It works in tiles of its own."""

    @property
    def family(self) -> SRNetwork | None:
        """The network, if it is one of the family."""
        return self.network if isinstance(self.network, SRNetwork) else None

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an image is extended to before it enters the network."""
        step = self.multiple_of
        sides = [-(-max(self.minimum, side) // step) * step for side in (height, width)]
        return (max(sides), max(sides)) if self.square else (sides[0], sides[1])

    def with_network(self, network: nn.Module, channels: tuple[int, int]) -> Subject:
        """The same with a module of another kind in place of the network."""
        return replace(self, network=network, channels=channels, halves=frozenset(), call=None)


def subject_of(model: Any, overrides: Mapping[str, Any]) -> Subject:
    """Open a file, or copy what is loaded already.

    Raises:
        CheckpointError, LayoutError, OptionError: as `paragon_arch.load`.
    """
    if model is None or isinstance(model, str | os.PathLike):
        path = find_model(None if model is None else os.fspath(cast("os.PathLike[str]", model)))
        opened = paragon_arch.open_model(path, **overrides)
        kind = f"{opened.report.layout} {opened.report.variant or 'custom'}"
        return _of_family(opened.model, f"{path.name}: {kind}", None)
    if overrides:
        raise InvalidOptionError(f"{', '.join(overrides)}: for files only; this model is loaded already")
    if isinstance(model, SRNetwork):
        return _of_family(_copied(model), type(model).__name__, None)
    network: nn.Module = model.model
    if isinstance(network, SRNetwork):
        report: Any = getattr(model, "report", None)
        return _of_family(_copied(network), getattr(report, "name", type(network).__name__), model)
    return _of_others(model, private_copy(network, device="cpu", dtype=torch.float32).eval())


def _copied(network: SRNetwork) -> SRNetwork:
    return private_copy(network, device="cpu", dtype=torch.float32).eval().requires_grad_(False)


def _of_family(network: SRNetwork, name: str, descriptor: Any) -> Subject:
    half, bfloat16 = network.traits.half, network.traits.bfloat16
    if hasattr(descriptor, "supports_half"):  # spandrel's; a host may have changed it
        half, bfloat16 = descriptor.supports_half, descriptor.supports_bfloat16
    needs, channels = size_needs(network), channels_of(network)
    return Subject(
        name,
        fused(network),
        network.scale,
        (channels, channels),
        _halves(half, bfloat16),
        minimum=needs.minimum,
        multiple_of=needs.multiple_of,
    )


def _of_others(model: ImageModelDescriptor[Any], network: nn.Module) -> Subject:
    sizes = model.size_requirements
    return Subject(
        model.architecture.name,
        network,
        model.scale,
        (model.input_channels, model.output_channels),
        _halves(model.supports_half, model.supports_bfloat16),
        call=cast("Any", model)._call_fn,  # spandrel has no other way
        minimum=max(1, sizes.minimum),
        multiple_of=sizes.multiple_of,
        square=sizes.square,
        divides=tiles_itself(model.tiling),
    )


def _halves(half: bool, bfloat16: bool) -> frozenset[str]:
    return frozenset(name for name, held in (("fp16", half), ("bf16", bfloat16)) if held)
