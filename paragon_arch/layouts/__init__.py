"""All layouts of the family, in the order in which a state dict is tried against them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from . import v1, v2_atd, v2_dualpath, v2_hybrid, v2_magic, v2_release, v2_static, v2_ultimate
from .base import Layout, State, Unknown, Variant

LAYOUTS: tuple[Layout, ...] = (
    *v2_ultimate.LAYOUTS,
    *v2_atd.LAYOUTS,
    *v2_release.LAYOUTS,
    *v2_dualpath.LAYOUTS,
    *v2_hybrid.LAYOUTS,
    *v2_static.LAYOUTS,
    *v2_magic.LAYOUTS,
    *v1.LAYOUTS,
)
"""Most specific first; see docs/layouts.md, section 5."""


def identify(state: Mapping[str, Tensor]) -> Layout | None:
    """The layout of a canonical state dict, or None if it is none of the family's."""
    if "conv_in.weight" not in state or "conv_out.weight" not in state:  # cheap way out for foreign models
        return None
    view = State(state)
    return next((layout for layout in LAYOUTS if layout.matches(view)), None)


__all__ = ["LAYOUTS", "Layout", "State", "Unknown", "Variant", "identify"]
