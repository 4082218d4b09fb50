"""Layout v2-static, and what it shares with the hybrids: the shape of the static block.

Keys: ``magic_upsampler``, ``transformer.dw_mixer`` and ``hr_conv_in``. Not in the state dict: scale, alpha, and
whether blocks and head are normed (parameter-free).
"""

from __future__ import annotations

from ..networks.v2_static import ParagonSR2Static
from .base import BLOCK, Hyper, Layout, State, Unknown, Variant
from .v1 import context_sizes, size

MIXER = BLOCK + "transformer.dw_mixer.0.weight"


def block_sizes(state: State) -> Hyper:
    """Body and block of a network made of static blocks."""
    groups, blocks = state.groups_and_blocks()
    return {
        "num_feat": state.features(),
        "num_groups": groups,
        "num_blocks": blocks,
        "hidden": state.size(BLOCK + "transformer.project_in.weight"),
        **context_sizes(state),
        "channel_mod": state.has(BLOCK + "transformer.channel_mod.net.1.weight"),
        "in_channels": state.size("conv_in.weight", 1),
    }


def _read(state: State) -> Hyper:
    return {**block_sizes(state), "hr_blocks": state.count("hr_head.", "conv1.weight")}


def _variant(name: str, shape: Hyper, hr_blocks: int, *, use_norm: bool = True) -> Variant:
    return Variant(name, {**shape, "channel_mod": True, "hr_blocks": hr_blocks}, use_norm=use_norm)


STATIC = Layout(
    id="v2-static",
    generation="ParagonSR2",
    dates="2025-11-17 to 2025-11-25",
    network=ParagonSR2Static,
    matches=lambda state: state.has("magic_upsampler.sharpen.conv_h.weight", MIXER, "hr_conv_in.weight"),
    read=_read,
    # sizes as built: the factories of micro to s halve groups and blocks ("fast body")
    variants=(
        _variant("micro", size(16, 1, 1, 1.2, 7), 1, use_norm=False),
        _variant("micro", size(16, 1, 1, 1.2, 7), 0, use_norm=False),  # until 2025-11-20
        _variant("nano", size(24, 1, 1, 1.5, 9), 1),
        _variant("xs", size(32, 1, 1, 1.5, 11), 1),
        _variant("s", size(48, 1, 2, 2.0, 11), 2),
        _variant("m", size(64, 4, 6, 2.0, 13), 2),
        _variant("l", size(96, 6, 8, 2.0, 15), 3),
        _variant("xl", size(128, 8, 10, 2.0, 15), 3),
    ),
    unknowns=(Unknown("scale", 4), Unknown("alpha", 0.5), Unknown("use_norm", True, choices=(True, False))),
)

LAYOUTS = (STATIC,)
"""In the order in which they must be tried."""
