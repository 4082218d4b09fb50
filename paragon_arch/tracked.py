"""The tracked-kernel flags of dynamic layouts, and the fault that EMA copies of the first public upload had.

A training framework's EMA interpolates float buffers but leaves bool buffers alone. Its copies therefore hold good
tracked kernels whose flags still say "never tracked", and evaluate with identity kernels, about 1.5 dB worse.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_KERNEL, _FLAG = ".tracked_kernel", ".tracked_initialized"


def mislabelled(state: Mapping[str, Tensor]) -> list[str]:
    """Flags that say "never tracked" although their kernel holds something."""
    return [
        flag
        for key, kernel in state.items()
        if key.endswith(_KERNEL)
        and (flag := key[: -len(_KERNEL)] + _FLAG) in state
        and not bool(state[flag].any())
        and bool(kernel.any())
    ]


def untracked(state: Mapping[str, Tensor]) -> list[str]:
    """Flags that say "never tracked"."""
    return [key for key, flag in state.items() if key.endswith(_FLAG) and not bool(flag.any())]


def repaired(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of the mapping with the flags of `mislabelled` set."""
    return {**state, **{flag: torch.ones_like(state[flag]) for flag in mislabelled(state)}}
