"""Layouts v2-v9a, v2-v10 and v2-release, and the variants of v2-atd and v2-atd-norm1d that are built like them.

Keys that tell them apart: ``base.sharp.h.weight`` (all), ``token_ca.token_dict`` (pro), ``norm.scale`` (photo),
``dw3`` (stream), ``dw`` (realtime), ``scale.gamma`` in stream and realtime blocks (release only).
Not in the state dict: alpha, and the window size of photo and pro. The v9a photo (window 8) cannot be told from the
v10 and release photo (window 16).
"""

from __future__ import annotations

from ..networks.v2_release import ParagonSR2Release
from .base import BLOCK, Hyper, Layout, State, Unknown, Variant


def _family(state: State) -> bool:
    return state.has("base.sharp.h.weight", "detail_gain", "up.0.weight")


def _block_type(state: State) -> str | None:
    if not _family(state) or state.has("final_norm.weight") or state.has("body.0.td"):
        return None
    if state.has(BLOCK + "token_ca.token_dict"):
        return "pro"
    if state.has(BLOCK + "norm.scale"):
        return "photo"
    if state.has(BLOCK + "dw3.weight"):
        return "stream"
    return "realtime" if state.has(BLOCK + "dw.weight") else None


def _read(state: State) -> Hyper:
    variant = _block_type(state)
    groups, blocks = state.groups_and_blocks()
    hyper: Hyper = {
        "variant": variant,
        "scale": state.shuffle_scale("up.0.weight"),
        "num_feat": state.features(),
        "num_groups": groups,
        "num_blocks": blocks,
        "in_channels": state.size("conv_in.weight", 1),
        "layer_scale": state.any_with(".scale"),
    }
    if variant == "pro":
        hyper["num_tokens"] = state.size(BLOCK + "token_ca.token_dict", 1)
        hyper["token_dim"] = state.size(BLOCK + "token_ca.q_proj.weight")
    if variant == "photo":
        hyper["rms"] = "plain" if len(state.shape(BLOCK + "norm.scale")) == 1 else "bias"
    attention = {"photo": "attn.qkv.weight", "pro": "window_attn.qkv.weight"}.get(str(variant))
    if attention is None or not state.has(BLOCK + attention):
        hyper["window_size"] = None
    return hyper


_ALPHA = Unknown("alpha", 0.0, maximum=None)
_WINDOW = Unknown("window_size", 16, choices=(8, 16), applies=lambda hyper: "window_size" not in hyper)


def _shape(variant: str, feat: int, groups: int, blocks: int, **options: object) -> Hyper:
    sizes = {"num_feat": feat, "num_groups": groups, "num_blocks": blocks}
    return {"variant": variant, **sizes, "layer_scale": True, **options}


_REALTIME = _shape("realtime", 16, 1, 3)
_STREAM = _shape("stream", 32, 2, 3)
_PHOTO = _shape("photo", 64, 4, 4, rms="bias")
_PRO = _shape("pro", 64, 6, 6, num_tokens=64, token_dim=16)

ATD_NORM1D_PHOTO = Layout(
    id="v2-atd-norm1d",
    generation="ParagonSR2",
    dates="2025-12-26",
    network=ParagonSR2Release,
    matches=lambda state: _block_type(state) == "photo" and len(state.shape(BLOCK + "norm.scale")) == 1,
    read=_read,
    variants=(Variant("photo", {**_PHOTO, "rms": "plain"}, alpha=0.4),),
    unknowns=(_ALPHA, _WINDOW),
)

RELEASE = Layout(
    id="v2-release",
    generation="ParagonSR2",
    dates="2025-12-27 to 2026",
    network=ParagonSR2Release,
    # a photo is that of v10 and release alike: same keys, same function
    matches=lambda state: (
        _block_type(state) in ("photo", "pro")
        or (_block_type(state) in ("realtime", "stream") and state.has(BLOCK + "scale.gamma"))
    ),
    read=_read,
    variants=(
        Variant("realtime", _REALTIME, alpha=0.3),
        Variant("stream", _STREAM, alpha=0.0),
        Variant("photo", _PHOTO, alpha=0.4),
        Variant("pro", _PRO, alpha=0.4),
    ),
    unknowns=(_ALPHA, _WINDOW),
)

V10 = Layout(
    id="v2-v10",
    generation="ParagonSR2",
    dates="2025-12-18 to 2025-12-26",
    network=ParagonSR2Release,
    matches=lambda state: _block_type(state) in ("realtime", "stream"),
    read=_read,
    variants=(
        Variant("realtime", {**_REALTIME, "layer_scale": False}, alpha=0.3),
        Variant("stream", {**_STREAM, "layer_scale": False}, alpha=0.0),
    ),
    unknowns=(_ALPHA,),
)

LAYOUTS = (ATD_NORM1D_PHOTO, RELEASE, V10)
"""In the order in which they must be tried."""
