"""The MUNet discriminators: recognised so that they are not taken for upscalers, and loaded for training.

Keys that tell them apart: ``attention_fusion.`` (4branch), ``freq_luma.weight`` (3branch), neither (unet). A state
with both is of a version of 2025-11-25 to 2025-11-29 that shares the names of munet-4branch but not its function.
Everything but the slope of the leaky ReLUs follows from shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from ..errors import StateMismatchError, UnsupportedLayoutError
from ..networks.munet import MUNet, MUNet3Branch, MUNet4Branch
from .base import Hyper, State

MUNetKind = Literal["munet-unet", "munet-3branch", "munet-4branch", "munet-4branch-early"]

_SN = ".parametrizations.weight.original"
_SHOWN = 3


def detect_munet(state: Mapping[str, Tensor]) -> MUNetKind | None:
    """Which MUNet discriminator these keys belong to; None if none."""
    keys = State(state)
    if not keys.has("down_blocks.0.0" + _SN, "mid_conv.0" + _SN, "out_conv" + _SN):
        return None
    if not keys.has("up_blocks.0.magic_upsample.resample_conv.conv_h.weight"):
        return None
    if keys.any_with("attention_fusion."):
        return "munet-4branch-early" if keys.any_with("luma") else "munet-4branch"
    return "munet-3branch" if keys.has("freq_luma.weight") else "munet-unet"


def refuse_munet(state: Mapping[str, Tensor]) -> None:
    """Raise `UnsupportedLayoutError` if this is the state dict of a discriminator; for loaders of upscalers."""
    kind = detect_munet(state)
    if kind is not None:
        raise UnsupportedLayoutError(
            f"this is a MUNet discriminator ({kind}), which judges images during training, not an upscaler; "
            "choose the generator's checkpoint of the same training run (usually net_g_*)"
        )


def munet_hyperparameters(state: Mapping[str, Tensor]) -> Hyper:
    """Constructor arguments that the shapes prove: ``num_feat``, ``ch_mult`` and, for munet-unet, ``in_channels``.

    The layers that bound the size of the network are checked, so that building it takes no more than a small
    multiple of the memory that the state dict itself takes.

    Raises:
        StateMismatchError: widths that contradict each other.
    """
    keys = State(state)
    num_feat = keys.size("out_conv" + _SN, 1)
    widths: list[int] = []
    while keys.has(f"down_blocks.{len(widths)}.0{_SN}"):
        widths.append(keys.size(f"down_blocks.{len(widths)}.0{_SN}"))
    if num_feat < 1 or any(width < 1 or width % num_feat for width in widths):
        raise StateMismatchError(
            f"the widths {widths} of down_blocks.*.0{_SN} are not multiples of the {num_feat} input channels of "
            f"out_conv{_SN}: the checkpoint is damaged"
        )
    _require_shape(keys, "mid_conv.0" + _SN, (widths[-1], widths[-1], 3, 3))
    for index, skip in enumerate([num_feat, *widths][-2::-1]):
        _require_shape(keys, f"up_blocks.{index}.fusion_conv.0{_SN}", (skip, 2 * skip, 3, 3))
    hyper: Hyper = {"num_feat": num_feat, "ch_mult": tuple(width // num_feat for width in widths)}
    if keys.has("in_conv.weight"):
        hyper["in_channels"] = keys.size("in_conv.weight", 1)
    return hyper


def _require_shape(keys: State, key: str, expected: tuple[int, ...]) -> None:
    if keys.shape(key) != expected:
        found = keys.shape(key) or "missing"
        raise StateMismatchError(f"{key} is {found} where the other layers call for {expected}")


def load_munet(state: Mapping[str, Tensor], *, compat_batch_shift: bool = False) -> MUNet:
    """Build the discriminator of a state dict and load it, in eval mode and float32.

    Args:
        state: bare state dict, without wrapper or ``module.`` prefixes. It is copied.
        compat_batch_shift: see `MUNet4Branch`; without effect for the other kinds.

    Raises:
        UnsupportedLayoutError: not a MUNet discriminator, or a version that cannot be reproduced.
        StateMismatchError: missing, unexpected or misshapen tensors.
    """
    kind = detect_munet(state)
    if kind is None or kind == "munet-4branch-early":
        what = "not a MUNet discriminator" if kind is None else "a four-branch MUNet of 2025-11-25 to 2025-11-29"
        raise UnsupportedLayoutError(f"this is {what}; supported are munet-unet, munet-3branch and munet-4branch")
    hyper = munet_hyperparameters(state)
    if kind == "munet-4branch":
        net = MUNet4Branch(**hyper, compat_batch_shift=compat_batch_shift)
    else:
        net = MUNet(**hyper) if kind == "munet-unet" else MUNet3Branch(**hyper)
    _require_equal_shapes(kind, net.state_dict(), state)
    net.load_state_dict(dict(state))
    return net.eval()


def _require_equal_shapes(kind: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise `StateMismatchError` unless both have the same keys and shapes."""
    misshapen = [
        f"{key} {tuple(found[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in found and found[key].shape != tensor.shape
    ]
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "misshapen": misshapen,
    }
    texts = [_listed(name, keys) for name, keys in problems.items() if keys]
    if texts:
        raise StateMismatchError(f"not a complete {kind} discriminator: {'; '.join(texts)}")


def _listed(name: str, keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{name} {', '.join(keys[:_SHOWN])}{more}"
