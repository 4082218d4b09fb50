"""Layouts of the first generation.

All have ``project_in_g`` (only this generation gates with two input projections). The tail tells them apart:
``magic_upsampler`` (v1-magic), ``upsampler.1`` (v1-nearest: the upsampling itself is entry 0 and has no weights),
``upsampler.0`` (pixel shuffle). Within the last, ``fused_conv`` marks v1-ln and v1-ln-bn, and v1-prels has no
LayerScale. Not in the state dict: the scale of v1-magic and v1-nearest.
"""

from __future__ import annotations

from typing import Any

from ..networks.v1 import ParagonSR
from .base import BLOCK, Hyper, Layout, State, Unknown, Variant

MIXER = BLOCK + "transformer.spatial_mixer."


def context_sizes(state: State) -> Hyper:
    """Slice width and kernel sizes of the first inception context."""
    return {
        "branch": state.size(BLOCK + "context.dwconv_hw.weight"),
        "square": state.size(BLOCK + "context.dwconv_hw.weight", 2),
        "band": state.size(BLOCK + "context.dwconv_w.weight", 3),
    }


def _family(state: State) -> bool:
    return state.has(BLOCK + "transformer.project_in_g.weight", "conv_in.weight", "conv_out.weight")


def _shuffle(state: State) -> bool:
    return _family(state) and state.has("upsampler.0.weight") and not state.any_with("magic_upsampler.")


def _read(state: State) -> Hyper:
    groups, blocks = state.groups_and_blocks()
    hyper: Hyper = {
        "num_feat": state.features(),
        "num_groups": groups,
        "num_blocks": blocks,
        "hidden": state.size(BLOCK + "transformer.project_in_g.weight"),
        **context_sizes(state),
        "tail": "pixelshuffle",
        "norm": "group",
        "mixer": "reparam",
        "layer_scale": state.has(BLOCK + "ls1.gamma"),
        "fused": state.has(MIXER + "weight"),
        "in_channels": state.size("conv_in.weight", 1),
    }
    if state.any_with("magic_upsampler."):
        hyper["tail"] = "magic"
    elif state.has("upsampler.1.weight"):
        hyper["tail"] = "nearest"
    else:
        hyper["scale"] = state.shuffle_scale("upsampler.0.weight")
    if state.has(MIXER + "fused_conv.weight"):
        hyper["norm"] = "layer"
        hyper["mixer"] = "cached-bn" if state.has(MIXER + "identity.running_mean") else "cached"
    return hyper


def size(feat: int, groups: int, blocks: int, expansion: float, band: int) -> dict[str, Any]:
    """The sizes of an official variant as constructor arguments (also of the second generation)."""
    return {
        "num_feat": feat,
        "num_groups": groups,
        "num_blocks": blocks,
        "hidden": int(feat * expansion),
        "branch": int(feat * 0.125),
        "square": 3,
        "band": band,
    }


def _variants(*names: str, tail: str = "pixelshuffle", tiny_blocks: int = 2, **options: object) -> tuple[Variant, ...]:
    sizes = {
        "nano": size(24, 3, 2, 1.5, 11),
        "anime": size(28, 2, 3, 1.5, 11),
        "tiny": size(32, 3, tiny_blocks, 2.0, 11),
        "xs": size(48, 4, 4, 2.0, 11),
        "s": size(64, 6, 6, 2.0, 11),
        "m": size(96, 8, 8, 2.0, 11),
        "l": size(128, 10, 10, 2.0, 11),
        "xl": size(160, 12, 12, 2.0, 11),
    }
    return tuple(Variant(name, {**sizes[name], "tail": tail, **options}) for name in names)


_ALL = ("nano", "anime", "tiny", "xs", "s", "m", "l", "xl")
_FIRST = ("tiny", "xs", "s", "m", "l", "xl")
_SCALE = Unknown("scale", 4)

MAGIC = Layout(
    id="v1-magic",
    generation="ParagonSR",
    dates="since 2025-11-04",
    network=ParagonSR,
    matches=lambda state: _family(state) and state.has("magic_upsampler.sharpen.conv_h.weight", "upsampler.0.weight"),
    read=_read,
    variants=_variants(*_ALL, tail="magic"),
    unknowns=(_SCALE, Unknown("alpha", 1.0)),
)

LN_BN = Layout(
    id="v1-ln-bn",
    generation="ParagonSR",
    dates="2025-10-26",
    network=ParagonSR,
    matches=lambda state: _shuffle(state) and state.has(MIXER + "fused_conv.weight", MIXER + "identity.running_mean"),
    read=_read,
    variants=_variants("s", "m", "l", norm="layer", mixer="cached-bn", layer_scale=False),
)

LN = Layout(
    id="v1-ln",
    generation="ParagonSR",
    dates="2025-10-26",
    network=ParagonSR,
    matches=lambda state: _shuffle(state) and state.has(MIXER + "fused_conv.weight"),
    read=_read,
    variants=_variants(*_FIRST, tiny_blocks=3, norm="layer", mixer="cached", layer_scale=False),
)

NEAREST = Layout(
    id="v1-nearest",
    generation="ParagonSR",
    dates="2025-11-03",
    network=ParagonSR,
    matches=lambda state: _family(state) and state.has("upsampler.1.weight"),
    read=_read,
    variants=_variants(*_ALL, tail="nearest"),
    unknowns=(_SCALE,),
)

PRELS = Layout(
    id="v1-prels",
    generation="ParagonSR",
    dates="2025-10-27",
    network=ParagonSR,
    matches=lambda state: _shuffle(state) and not state.any_with(".gamma"),
    read=_read,
    variants=_variants(*_FIRST, tiny_blocks=3, layer_scale=False),
)

PIXELSHUFFLE = Layout(
    id="v1-pixelshuffle",
    generation="ParagonSR",
    dates="since 2025-10-27",
    network=ParagonSR,
    matches=lambda state: _shuffle(state) and state.has(BLOCK + "ls1.gamma"),
    read=_read,
    # tiny had three blocks a group until 2025-11-02
    variants=(*_variants(*_ALL), *_variants("tiny", tiny_blocks=3)),
)

LAYOUTS = (MAGIC, LN_BN, LN, NEAREST, PRELS, PIXELSHUFFLE)
"""In the order in which they must be tried."""
