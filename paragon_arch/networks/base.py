"""What every generator of the family has in common."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

P = ParamSpec("P")
N = TypeVar("N", bound="SRNetwork")


@dataclass(frozen=True)
class Traits:
    """What a network's function depends on, beyond a finite neighbourhood of each pixel."""

    global_statistics: bool = False
    """Some value is pooled over the whole image (GroupNorm, global average, attention over all pixels)."""
    window: int | None = None
    """Side of the attention windows in input pixels, laid on the image grid from its top-left corner."""
    half: bool = True
    """FP16 holds its values: no normalisation over the whole image, no known overflow."""
    bfloat16: bool = True
    """Eight bits of mantissa suffice. Feature-space Magic resampling with alpha > 0 parks large alternating values
    in the features, which the resampler cancels later; bfloat16 loses the picture in that cancellation."""


class SRNetwork(nn.Module):
    """Base class of the generators: ``(N, C, H, W)`` RGB in 0..1 to ``(N, C, H*scale, W*scale)``, not clamped.

    A network knows nothing about files, detection or host programs. Sub-classes take keyword-only
    constructor arguments, which `records_hyperparameters` keeps in `hyperparameters`.
    """

    scale: int
    """Output pixels per input pixel along each side."""
    hyperparameters: dict[str, Any]
    """The constructor's arguments; ``type(net)(**net.hyperparameters)`` builds the same structure."""
    alpha: float | None = None
    """Strength of the pre-filter of the Magic resampler (0 = off); None where the layout has none."""
    fused: bool = False
    """The training-time branches are gone."""
    fusible: bool = False
    """The layout has a fuse step that changes its keys."""
    minimum_size: int = 1
    """Smallest height and width of the input; pad smaller images before the call."""

    @property
    def traits(self) -> Traits:
        """See `Traits`."""
        return Traits()

    def receptive_field(self) -> int | None:
        """Radius in input pixels: output cell p depends on inputs p-R..p+R. None if unlimited."""
        raise NotImplementedError

    def fuse_(self) -> None:
        """Fuse in place. Use `paragon_arch.fuse`, which works on a copy and checks the result."""


def records_hyperparameters(init: Callable[Concatenate[N, P], None]) -> Callable[Concatenate[N, P], None]:
    """Decorate a keyword-only ``__init__`` so that its arguments end up in ``self.hyperparameters``."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapper(self: N, *args: P.args, **kwargs: P.kwargs) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        init(self, *args, **kwargs)
        self.hyperparameters = {name: value for name, value in bound.arguments.items() if name != "self"}

    return wrapper


def global_average(x: Tensor) -> Tensor:
    """Mean over height and width, kept as ``(N, C, 1, 1)``; exports as one ReduceMean."""
    return x.mean(dim=(2, 3), keepdim=True)


class _WithoutInitialisation(TorchFunctionMode):
    """Makes the functions of `torch.nn.init` return their tensor untouched."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def structure_only() -> Generator[None, None, None]:
    """Networks built inside have shapes but no memory (meta device), in a fraction of the time."""
    with torch.device("meta"), _WithoutInitialisation():
        yield
