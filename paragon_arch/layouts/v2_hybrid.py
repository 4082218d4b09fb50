"""Layouts of the hybrids: v2-hybrid-gn, v2-hybrid-rms, v2-hybrid-dense and v2-hybrid-attn.

All have ``upsampler_net.up_conv`` and static blocks. ``dense_proj`` marks dense groups, ``content_processor`` or
``attention`` the last, ``norm.scale`` in a block v2-hybrid-rms. Not in the state dict: alpha, whether blocks of gn and
dense are normed (parameter-free), and whether attention is global or in windows. A v2-hybrid-rms without norms is the
same function as a v2-hybrid-gn without norms, and is read as one.
"""

from __future__ import annotations

from ..networks.v2_hybrid import ParagonSR2Hybrid
from .base import BLOCK, Hyper, Layout, State, Unknown, Variant
from .v1 import size
from .v2_static import MIXER, block_sizes


def _hybrid(state: State) -> bool:
    return state.has("magic_upsampler.sharpen.conv_h.weight", "upsampler_net.up_conv.weight", MIXER)


def _attention(state: State) -> bool:
    return state.has(BLOCK + "transformer.attention.query.weight")


def _content(state: State) -> bool:
    return state.has("content_processor.content_analyzer.0.weight")


def _read(state: State) -> Hyper:
    dense, rms = state.has("body.0.dense_proj.weight"), state.has(BLOCK + "norm.scale")
    special = _attention(state) or _content(state)
    hyper: Hyper = {
        **block_sizes(state),
        "scale": state.shuffle_scale("upsampler_net.up_conv.weight"),
        "norm": "rms" if rms or special else "group",
        "dense": dense,
        "content_gain": _content(state),
    }
    if rms or special:
        hyper["use_norm"] = rms
    if not _attention(state):
        hyper["attention"] = None
    return hyper


_SIZES: dict[str, tuple[Hyper, float]] = {
    "nano": (size(12, 1, 1, 1.2, 7), 0.4),
    "micro": (size(16, 1, 1, 1.5, 7), 0.45),
    "tiny": (size(24, 1, 1, 1.5, 9), 0.5),
    "xs": (size(32, 1, 1, 1.8, 11), 0.5),
    "s": (size(48, 1, 2, 2.0, 11), 0.5),
    "m": (size(64, 4, 6, 2.0, 11), 0.5),
    "l": (size(96, 6, 8, 2.0, 13), 0.55),
    "xl": (size(128, 8, 10, 2.0, 15), 0.6),
}
"""Sizes as built (the factories of the small ones halve groups and blocks), and their default alpha."""
_UNNORMED = ("nano", "micro")
_WITHOUT_ATTENTION = ("l", "xl")


def _variants(*, norm: str, dense: bool = False) -> tuple[Variant, ...]:
    def variant(name: str) -> Variant:
        shape, alpha = _SIZES[name]
        normed = name not in _UNNORMED
        options: Hyper = {"channel_mod": name != "nano", "norm": norm, "dense": dense, "content_gain": False}
        if norm == "rms":
            options["use_norm"] = normed
        return Variant(name, {**shape, **options, "attention": None}, alpha=alpha, use_norm=normed)

    return tuple(variant(name) for name in _SIZES)


def _attention_variants() -> tuple[Variant, ...]:
    def variant(plain: Variant) -> Variant:
        shape = {**plain.shape, "content_gain": True}
        if plain.name not in _WITHOUT_ATTENTION:
            del shape["attention"]
        return Variant(plain.name, shape, alpha=plain.alpha, use_norm=plain.use_norm)

    return tuple(variant(plain) for plain in _variants(norm="rms"))


_ALPHA = Unknown("alpha", 0.5)
_NORM = Unknown("use_norm", True, choices=(True, False), applies=lambda hyper: "use_norm" not in hyper)
_ATTENTION = Unknown(
    "attention", "window", choices=("window", "global"), applies=lambda hyper: "attention" not in hyper
)

DENSE = Layout(
    id="v2-hybrid-dense",
    generation="ParagonSR2",
    dates="2025-11-27 to 2025-11-29",
    network=ParagonSR2Hybrid,
    matches=lambda state: _hybrid(state) and state.has("body.0.dense_proj.weight"),
    read=_read,
    variants=_variants(norm="group", dense=True),
    unknowns=(_ALPHA, _NORM),
)

ATTENTION = Layout(
    id="v2-hybrid-attn",
    generation="ParagonSR2",
    dates="2025-11-29 to 2025-12-03",
    network=ParagonSR2Hybrid,
    matches=lambda state: _hybrid(state) and (_attention(state) or _content(state)),
    read=_read,
    variants=_attention_variants(),
    unknowns=(_ALPHA, _ATTENTION),
)

RMS = Layout(
    id="v2-hybrid-rms",
    generation="ParagonSR2",
    dates="2025-11-28 to 2025-11-29",
    network=ParagonSR2Hybrid,
    matches=lambda state: _hybrid(state) and state.has(BLOCK + "norm.scale"),
    read=_read,
    variants=tuple(variant for variant in _variants(norm="rms") if variant.name not in _UNNORMED),
    unknowns=(_ALPHA,),
)

GROUP = Layout(
    id="v2-hybrid-gn",
    generation="ParagonSR2",
    dates="2025-11-25 to 2025-11-28",
    network=ParagonSR2Hybrid,
    matches=_hybrid,
    read=_read,
    variants=_variants(norm="group"),
    unknowns=(_ALPHA, _NORM),
)

LAYOUTS = (DENSE, ATTENTION, RMS, GROUP)
"""In the order in which they must be tried."""
