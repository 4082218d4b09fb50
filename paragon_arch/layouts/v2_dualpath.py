"""Layouts v2-dualpath-rgbgate, -v6, -v7 and -v8.

All have ``base_upsampler``. ``source_kernel`` marks v8, ``mid_conv`` in a group v7, ``global_detail_gain`` v6.
Block types: ``net.0`` nano, ``dw_gate`` gate, ``project_in`` paragon. Not in the state dict: alpha, and the window size
of v6 (v7 and v8 have a position table of its size, rgbgate always 32).
"""

from __future__ import annotations

import math

from ..networks.v2_dualpath import ParagonSR2DualPath
from .base import BLOCK, Hyper, Layout, State, Unknown, Variant

TABLE = BLOCK + "attn.relative_position_bias_table"
BLOCK_KEYS = {"net.0.weight": "nano", "dw_gate.weight": "gate", "project_in.weight": "paragon"}


def _block_type(state: State) -> str | None:
    return next((kind for key, kind in BLOCK_KEYS.items() if state.has(BLOCK + key)), None)


def _revision(state: State) -> str | None:
    if not state.has("base_upsampler.sharpen.conv_h.weight", "conv_in.weight") or _block_type(state) is None:
        return None
    if state.has("body.0.mid_conv.weight"):
        return "v8" if state.has("base_upsampler.sharpen.source_kernel") else "v7"
    return "v6" if state.has("global_detail_gain") else "rgbgate"


def _scale(state: State) -> int:
    if state.has("detail_upsampler.stages.0.up_conv.weight"):
        return 8 if state.has("detail_upsampler.stages.6.up_conv.weight") else 4
    return state.shuffle_scale("detail_upsampler.up_conv.weight")


def _read(state: State) -> Hyper:
    revision = _revision(state)
    groups, blocks = state.groups_and_blocks()
    hyper: Hyper = {
        "revision": revision,
        "block": _block_type(state),
        "scale": _scale(state),
        "num_feat": state.features(),
        "num_groups": groups,
        "num_blocks": blocks,
        "band": state.size(BLOCK + "context.dwconv_w.weight", 3) or None,
        "gated": state.has("content_processor.analyzer.0.weight"),
        "in_channels": state.size("conv_in.weight", 1),
    }
    if not state.has(BLOCK + "attn.qkv.weight"):
        hyper["window_size"] = None
    elif state.has(TABLE):
        hyper["window_size"] = (math.isqrt(state.size(TABLE)) + 1) // 2
    elif revision == "rgbgate":
        hyper["window_size"] = 32
    return hyper


def _realtime(revision: str) -> Variant:
    shape = {"block": "nano", "num_feat": 16, "num_groups": 1, "num_blocks": 3, "band": None, "window_size": None}
    return Variant("realtime", {"revision": revision, **shape, "gated": False}, alpha=0.35)


def _stream(revision: str) -> Variant:
    # the factories always passed a band of 21; only v8 used it
    band = 21 if revision == "v8" else None
    shape = {"block": "gate", "num_feat": 32, "num_groups": 2, "num_blocks": 3, "band": band, "window_size": None}
    return Variant("stream", {"revision": revision, **shape, "gated": True}, alpha=0.0)


def _paragon(name: str, revision: str, feat: int, groups: int, blocks: int, band: int, alpha: float) -> Variant:
    shape = {"block": "paragon", "num_feat": feat, "num_groups": groups, "num_blocks": blocks, "band": band}
    window = {} if revision == "v6" else {"window_size": 32}
    return Variant(name, {"revision": revision, **shape, **window, "gated": True}, alpha=alpha)


def _variants(revision: str) -> tuple[Variant, ...]:
    return (_realtime(revision), _stream(revision), _paragon("photo", revision, 64, 4, 4, 11, 0.4))


def _pro(revision: str) -> Variant:
    return _paragon("pro", revision, 96, 6, 6, 17, 0.6)


_ALPHA = Unknown("alpha", 0.4)

V8 = Layout(
    id="v2-dualpath-v8",
    generation="ParagonSR2",
    dates="2025-12-17",
    network=ParagonSR2DualPath,
    matches=lambda state: _revision(state) == "v8",
    read=_read,
    variants=_variants("v8"),
    unknowns=(_ALPHA,),
)

V7 = Layout(
    id="v2-dualpath-v7",
    generation="ParagonSR2",
    dates="2025-12-16",
    network=ParagonSR2DualPath,
    matches=lambda state: _revision(state) == "v7",
    read=_read,
    variants=(*_variants("v7"), _pro("v7")),
    unknowns=(_ALPHA,),
)

V6 = Layout(
    id="v2-dualpath-v6",
    generation="ParagonSR2",
    dates="2025-12-12 to 2025-12-16",
    network=ParagonSR2DualPath,
    matches=lambda state: _revision(state) == "v6",
    read=_read,
    variants=(*_variants("v6"), _pro("v6")),
    unknowns=(_ALPHA, Unknown("window_size", 32, applies=lambda hyper: "window_size" not in hyper)),
)

RGBGATE = Layout(
    id="v2-dualpath-rgbgate",
    generation="ParagonSR2",
    dates="2025-12-03 to 2025-12-12",
    network=ParagonSR2DualPath,
    matches=lambda state: _revision(state) == "rgbgate",
    read=_read,
    variants=(
        *_variants("rgbgate"),
        _pro("rgbgate"),
        # until 2025-12-09
        _paragon("photo", "rgbgate", 64, 4, 6, 11, 0.4),
        _paragon("pro", "rgbgate", 96, 6, 8, 17, 0.6),
    ),
    unknowns=(_ALPHA,),
)

LAYOUTS = (V8, V7, V6, RGBGATE)
"""In the order in which they must be tried."""
