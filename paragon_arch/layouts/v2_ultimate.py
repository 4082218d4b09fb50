"""Layout v2-ultimate.

Key: ``final_norm``. Not in the state dict: alpha and the window size. Which blocks have attention follows from their
number.
"""

from __future__ import annotations

from ..networks.v2_ultimate import FIRST_TOKEN_BLOCK, ParagonSR2Ultimate
from .base import BLOCK, Hyper, Layout, State, Unknown, Variant


def _read(state: State) -> Hyper:
    groups, blocks = state.groups_and_blocks()
    group, block = divmod(FIRST_TOKEN_BLOCK, max(1, blocks))
    attention = f"body.{group}.blocks.{block}.token_ca."
    hyper: Hyper = {
        "scale": state.shuffle_scale("up.0.weight"),
        "num_feat": state.features(),
        "num_groups": groups,
        "num_blocks": blocks,
        "in_channels": state.size("conv_in.weight", 1),
    }
    if state.has(attention + "token_dict"):
        hyper["num_tokens"] = state.size(attention + "token_dict", 1)
        hyper["token_dim"] = state.size(attention + "q_proj.weight")
    return hyper


_SHAPE: Hyper = {"num_feat": 180, "num_groups": 9, "num_blocks": 8, "num_tokens": 32, "token_dim": 16}

ULTIMATE = Layout(
    id="v2-ultimate",
    generation="ParagonSR2",
    dates="2026-01-17",
    network=ParagonSR2Ultimate,
    matches=lambda state: state.has(
        "base.sharp.h.weight", "up.0.weight", "final_norm.weight", BLOCK + "gated_conv.conv1.weight"
    ),
    read=_read,
    variants=(Variant("ultimate", _SHAPE),),
    unknowns=(Unknown("alpha", 0.2, maximum=None), Unknown("window_size", 12)),
)

LAYOUTS = (ULTIMATE,)
"""In the order in which they must be tried."""
