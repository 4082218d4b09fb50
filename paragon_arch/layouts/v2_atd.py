"""The pro of layouts v2-atd and v2-atd-norm1d (the same keys and function); their other variants: `v2_release`.

Key: ``body.0.td``, the token dictionary of a group. Not in the state dict: alpha.
"""

from __future__ import annotations

import math

from ..networks.v2_atd import ParagonSR2ATD
from .base import Hyper, Layout, State, Unknown, Variant

LAYER = "body.0.layers.0."
TABLE = LAYER + "attn_win.relative_position_bias_table"


def _read(state: State) -> Hyper:
    return {
        "scale": state.shuffle_scale("up.0.weight"),
        "num_feat": state.features(),
        "num_groups": state.count("body."),
        "num_blocks": state.count("body.0.layers."),
        "window_size": (math.isqrt(state.size(TABLE)) + 1) // 2,
        "heads": state.size(TABLE, 1),
        "num_tokens": state.size("body.0.td"),
        "token_dim": state.size(LAYER + "attn_atd.wq.weight"),
        "in_channels": state.size("conv_in.weight", 1),
    }


_PRO: Hyper = {
    "num_feat": 64,
    "num_groups": 3,
    "num_blocks": 6,
    "window_size": 8,
    "heads": 4,
    "num_tokens": 64,
    "token_dim": 4,
}

ATD = Layout(
    id="v2-atd",
    generation="ParagonSR2",
    dates="2025-12-26 to 2025-12-27",
    network=ParagonSR2ATD,
    matches=lambda state: state.has("base.sharp.h.weight", "up.0.weight", "body.0.td", TABLE),
    read=_read,
    variants=(Variant("pro", _PRO),),
    unknowns=(Unknown("alpha", 0.5, maximum=None),),
)

LAYOUTS = (ATD,)
"""In the order in which they must be tried."""
