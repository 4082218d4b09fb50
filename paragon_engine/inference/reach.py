"""How far the modules of a chain see, read off the modules themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn

from paragon_arch.networks.layers import InceptionContext, LayerScale, RMSNorm
from paragon_arch.networks.magic import MagicResample
from paragon_arch.networks.v1 import PixelLayerNorm
from paragon_arch.networks.v2_dualpath_blocks import DetailGate
from paragon_arch.networks.v2_release import TokenAttention

from .chains import Gain, HalvesProduct, Product, Residual, TwoContexts
from .modules import (
    ContextStep,
    GainlessContext,
    InPlaceGELU,
    InPlaceResidual,
    MishProduct,
    PhaseFilters,
    PhaseMajorShuffle,
    RationalMish,
    ScaledContext,
    Shuffle,
    SigmoidMish,
    UnitRMS,
)
from .tails import FramedTail

POINTWISE = (
    nn.Identity,
    nn.GELU,
    nn.Mish,
    nn.ReLU,
    nn.LeakyReLU,
    nn.Hardswish,
    nn.Sigmoid,
    InPlaceGELU,
    RationalMish,
    SigmoidMish,
    HalvesProduct,
    Gain,
    LayerScale,
    RMSNorm,
    UnitRMS,
    PixelLayerNorm,
    TokenAttention,
)
"""Each pixel of the result depends on one pixel."""
PARALLEL = (InceptionContext, ScaledContext, GainlessContext, ContextStep, TwoContexts)
"""Their convolutions all read the input."""


class Reach(NamedTuple):
    """What a module sees, and how it changes the size."""

    before: int
    """Pixels of the input around a pixel."""
    scale: int = 1
    """Pixels of the result per pixel of the input, along each side."""
    after: int = 0
    """Pixels of the result around a pixel."""


def reach_of(chain: Iterable[nn.Module]) -> Reach | None:
    """What a chain sees, all in pixels of its input; None if that is unlimited or not known."""
    radius, scale = 0, 1
    for step in reversed(list(chain)):
        own = _reach(step)
        if own is None:
            return None
        radius = -(-(radius + own.after) // own.scale) + own.before
        scale *= own.scale
    return Reach(radius, scale)


def radius_of(module: nn.Module) -> int | None:
    """Pixels around a pixel that a module's result depends on, or None."""
    found = reach_of([module])
    return None if found is None else found.before


def _reach(step: nn.Module) -> Reach | None:
    if isinstance(step, nn.Conv2d):
        return Reach(_kernel_radius(step))
    if isinstance(step, POINTWISE):
        return Reach(0)
    if isinstance(step, nn.Sequential | Residual | InPlaceResidual):
        return reach_of(step if isinstance(step, nn.Sequential) else step.inner)
    if isinstance(step, Product | MishProduct):
        return _widest([step.left, step.right])
    if isinstance(step, PARALLEL):
        return Reach(max(_kernel_radius(layer) for layer in step.modules() if isinstance(layer, nn.Conv2d)))
    if isinstance(step, FramedTail):  # a frame of the crop's border, too, is made from what the crop ends at
        return Reach(max(step.frame, step.reach), step.scale)
    return Reach(step.radius) if isinstance(step, DetailGate) else _enlarging(step)


def _enlarging(step: nn.Module) -> Reach | None:
    if isinstance(step, nn.PixelShuffle):
        return Reach(0, step.upscale_factor)
    if isinstance(step, Shuffle | PhaseMajorShuffle):
        return Reach(0, step.scale)
    if isinstance(step, PhaseFilters):
        radius = max(_kernel_radius(layer) for layer in step.phases if isinstance(layer, nn.Conv2d))
        return Reach(radius, step.scale)
    if isinstance(step, MagicResample):
        return Reach(step.radius, step.scale, 2)
    if isinstance(step, nn.Upsample) and isinstance(step.scale_factor, float):
        return Reach(0, int(step.scale_factor))
    return None


def _widest(modules: Iterable[nn.Module]) -> Reach | None:
    found = [radius_of(module) for module in modules]
    return None if None in found else Reach(max(radius for radius in found if radius is not None))


def _kernel_radius(layer: nn.Conv2d) -> int:
    sides = zip(layer.kernel_size, layer.dilation, strict=True)
    return max((side - 1) // 2 * dilation for side, dilation in sides)
