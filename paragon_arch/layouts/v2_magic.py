"""Layouts of ParagonSR2 with dynamic kernels: v2-pixelshuffle, v2-magic-reparam, v2-magic, v2-magic-hr, v2-dynamic.

``tracked_kernel`` marks the last three, ``dynamic_conv`` the first two. The tail tells the rest: ``upsampler.weight``
(v2-magic), ``hr_conv_in`` (v2-magic-hr; with four-dimensional gammas v2-dynamic). Not in the state dict: scale and
alpha of everything with a Magic upsampler, and whether the head of v2-dynamic is normed.
A v2-dynamic of mode "full" loses its generators when fused and then looks like mode "off"; both evaluate alike.
"""

from __future__ import annotations

from ..networks.v2_magic import ParagonSR2Magic
from .base import BLOCK, Hyper, Layout, State, Unknown, Variant
from .v1 import context_sizes, size

TRANSFORMER = BLOCK + "transformer."
GENERATOR = TRANSFORMER + "kernel_generator.predictor.1.weight"


def _magic(state: State) -> bool:
    return state.has("magic_upsampler.sharpen.conv_h.weight", TRANSFORMER + "project_in.weight", "conv_out.weight")


def _tracked(state: State, gamma_dims: int) -> bool:
    return (
        _magic(state)
        and state.has(TRANSFORMER + "tracked_kernel")
        and len(state.shape(BLOCK + "ls1.gamma")) == gamma_dims
    )


def _read(state: State) -> Hyper:
    groups, blocks = state.groups_and_blocks()
    hyper: Hyper = {
        "num_feat": state.features(),
        "num_groups": groups,
        "num_blocks": blocks,
        "hidden": state.size(TRANSFORMER + "project_in.weight"),
        **context_sizes(state),
        "in_channels": state.size("conv_in.weight", 1),
        **_transformer(state),
    }
    if not _magic(state):
        hyper |= {"tail": "pixelshuffle", "scale": state.shuffle_scale("upsampler.0.weight")}
    elif state.has("hr_conv_in.weight"):
        hyper |= {"tail": "magic-hr", "hr_blocks": state.count("hr_head.", "conv1.weight")}
    else:
        hyper["tail"] = "magic"
    return hyper


def _transformer(state: State) -> Hyper:
    if state.any_with(".dynamic_conv."):
        kind = "reparam-lrelu" if _magic(state) else "reparam-mish"
        return {"transformer": kind, "fused": state.has(TRANSFORMER + "dynamic_conv.weight")}
    if len(state.shape(BLOCK + "ls1.gamma")) != 4:
        return {"transformer": "tracked", "fused": not state.has(GENERATOR)}
    if state.has(TRANSFORMER + "cheap_dynamic.net.1.weight"):
        return {"transformer": "cheap"}
    return {"transformer": "full" if state.has(GENERATOR) else "off"}


_SCALE = Unknown("scale", 4)
_ALPHA_1 = Unknown("alpha", 1.0)
_ALPHA_HALF = Unknown("alpha", 0.5)


def _with(sizes: dict[str, Hyper], **options: object) -> tuple[Variant, ...]:
    return tuple(Variant(name, {**shape, **options}) for name, shape in sizes.items())


_LARGE: dict[str, Hyper] = {
    "m": size(96, 8, 8, 2.0, 11),
    "l": size(128, 10, 10, 2.0, 11),
    "xl": size(160, 12, 12, 2.0, 11),
}
_MAGIC_SIZES: dict[str, Hyper] = {
    "anime": size(28, 2, 3, 1.5, 15),
    "tiny": size(32, 3, 2, 2.0, 11),
    "s": size(56, 5, 5, 2.0, 11),
    **_LARGE,
}
_V0_SIZES: dict[str, Hyper] = {
    "anime": size(28, 2, 2, 1.5, 15),
    "tiny": size(28, 3, 2, 2.0, 11),
    "s": size(64, 6, 6, 2.0, 11),
    **_LARGE,
}
_NANO: dict[str, Hyper] = {"nano": size(24, 2, 2, 1.5, 9)}


def _hr(sizes: dict[str, Hyper], *heads: int) -> tuple[Variant, ...]:
    return tuple(
        Variant(name, {**shape, "transformer": "tracked", "tail": "magic-hr", "hr_blocks": head})
        for (name, shape), head in zip(sizes.items(), heads, strict=True)
    )


_HR_NOVEMBER_14: dict[str, Hyper] = {
    "nano": size(24, 2, 2, 1.5, 9),
    "xs": size(32, 2, 3, 1.5, 11),
    "s": size(48, 3, 4, 2.0, 11),
    "m": size(64, 4, 6, 2.0, 13),
    "l": size(96, 6, 8, 2.0, 15),
    "xl": size(128, 8, 10, 2.0, 15),
}


def _dynamic(name: str, shape: Hyper, head: int, mode: str) -> Variant:
    return Variant(name, {**shape, "transformer": mode, "tail": "magic-hr", "hr_blocks": head})


_DYNAMIC_VARIANTS = (
    # the factories of nano, xs and s halve groups and blocks ("fast body")
    _dynamic("nano", size(24, 1, 1, 1.5, 9), 1, "cheap"),
    _dynamic("xs", size(32, 1, 1, 1.5, 11), 1, "cheap"),
    _dynamic("s", size(48, 1, 2, 2.0, 11), 2, "cheap"),
    _dynamic("m", size(64, 4, 6, 2.0, 13), 2, "full"),
    _dynamic("l", size(96, 6, 8, 2.0, 15), 3, "full"),
    _dynamic("xl", size(128, 8, 10, 2.0, 15), 3, "full"),
    # what fusing leaves of a "full" one
    _dynamic("m", size(64, 4, 6, 2.0, 13), 2, "off"),
    _dynamic("l", size(96, 6, 8, 2.0, 15), 3, "off"),
    _dynamic("xl", size(128, 8, 10, 2.0, 15), 3, "off"),
)

PIXELSHUFFLE = Layout(
    id="v2-pixelshuffle",
    generation="ParagonSR2",
    dates="2025-11-02",
    network=ParagonSR2Magic,
    matches=lambda state: (
        state.has(TRANSFORMER + "project_in.weight", GENERATOR, "upsampler.0.weight")
        and state.any_with(".dynamic_conv.")
        and not _magic(state)
    ),
    read=_read,
    variants=_with(_V0_SIZES, transformer="reparam-mish", tail="pixelshuffle"),
)

MAGIC_REPARAM = Layout(
    id="v2-magic-reparam",
    generation="ParagonSR2",
    dates="2025-11-04 to 2025-11-06",
    network=ParagonSR2Magic,
    matches=lambda state: _magic(state) and state.any_with(".dynamic_conv.") and state.has("upsampler.weight"),
    read=_read,
    variants=_with(_MAGIC_SIZES, transformer="reparam-lrelu", tail="magic"),
    unknowns=(_SCALE, _ALPHA_1),
)

MAGIC = Layout(
    id="v2-magic",
    generation="ParagonSR2",
    dates="2025-11-06 to 2025-11-11",
    network=ParagonSR2Magic,
    matches=lambda state: _tracked(state, 1) and state.has("upsampler.weight"),
    read=_read,
    variants=_with(_NANO | _MAGIC_SIZES, transformer="tracked", tail="magic"),
    unknowns=(_SCALE, _ALPHA_1),
)

MAGIC_HR = Layout(
    id="v2-magic-hr",
    generation="ParagonSR2",
    dates="2025-11-11 to 2025-11-17",
    network=ParagonSR2Magic,
    matches=lambda state: _tracked(state, 1) and state.has("hr_conv_in.weight"),
    read=_read,
    # the names s, m, l and xl changed their size on 2025-11-14; tuples that coincide are listed once
    variants=(
        *_hr(_NANO | _MAGIC_SIZES, 1, 2, 2, 2, 2, 3, 3),
        *_hr(_HR_NOVEMBER_14, 1, 1, 2, 2, 3, 3),
    ),
    unknowns=(_SCALE, _ALPHA_HALF),
)

DYNAMIC = Layout(
    id="v2-dynamic",
    generation="ParagonSR2",
    dates="2025-11-17",
    network=ParagonSR2Magic,
    matches=lambda state: _tracked(state, 4) and state.has("hr_conv_in.weight"),
    read=_read,
    variants=_DYNAMIC_VARIANTS,
    unknowns=(_SCALE, _ALPHA_HALF, Unknown("use_norm", True, choices=(True, False))),
)

LAYOUTS = (MAGIC_REPARAM, MAGIC, MAGIC_HR, DYNAMIC, PIXELSHUFFLE)
"""In the order in which they must be tried."""
