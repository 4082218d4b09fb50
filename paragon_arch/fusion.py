"""Fusing: the training-time branches become the few convolutions they are equal to, on a copy that is then checked."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import tracked
from .copying import private_copy
from .errors import FusionError
from .networks.base import SRNetwork, structure_only

TOLERANCE = 1e-5
"""Largest allowed difference of fused and unfused outputs, relative to the larger of 1 and the largest output."""

_CHECKED_SIZES = ((16, 16), (24, 17), (9, 33))


@dataclass(frozen=True)
class Fusion:
    """Outcome of `fuse_network`."""

    network: SRNetwork
    """A new network; the one given is left as it was."""
    changed: bool
    """False if there was nothing to fuse."""
    message: str
    """One sentence for the user."""
    worst: float
    """Largest difference of outputs that the check saw, relative as in `TOLERANCE`."""


def fuse_network(network: SRNetwork, *, accept_identity: bool = False) -> Fusion:
    """Fuse a copy of a network and prove it equal.

    Args:
        network: any generator of the family; not changed.
        accept_identity: fuse a dynamic network whose kernels were never tracked, with identity kernels.

    Raises:
        FusionError: kernels were never tracked, training keys survived, or outputs differ.
    """
    twin = private_copy(network)
    if network.fused:
        return Fusion(twin, False, "the model is fused already; nothing was changed", 0.0)
    if not network.fusible:
        return Fusion(twin, False, "this layout has no training branches; there is nothing to fuse", 0.0)
    state = network.state_dict()
    missing = tracked.untracked(state)
    if missing and not accept_identity:
        raise FusionError(
            f"{len(missing)} dynamic kernels were never tracked (first: {missing[0]}), so fusing would freeze identity "
            "kernels; calibrate the model on images first, or accept that (--accept-identity-kernel)"
        )
    twin.fuse_()
    if not any(parameter.requires_grad for parameter in network.parameters()):
        twin.requires_grad_(False)  # tracers refuse a new layer that asks for gradients
    before, after = set(state), set(twin.state_dict())
    _check_keys(network, twin)
    worst = _worst_difference(network, twin)
    if not worst <= TOLERANCE:  # NaN fails too
        raise FusionError(f"the fused model differs from the original by {worst:.1e}, more than {TOLERANCE:.0e}")
    message = f"{len(before - after)} training tensors became {len(after - before)}; outputs differ by {worst:.1e}"
    return Fusion(twin, True, message, worst)


def _check_keys(network: SRNetwork, twin: SRNetwork) -> None:
    """The fused keys and shapes must be those of a network that is built fused."""
    with structure_only():
        model = type(network)(**{**network.hyperparameters, "fused": True})
    expected = {key: value.shape for key, value in model.state_dict().items()}
    found = {key: value.shape for key, value in twin.state_dict().items()}
    if expected != found:
        wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise FusionError(f"fusing left unexpected tensors: {', '.join(wrong[:3])}")


@torch.no_grad()
def _worst_difference(network: SRNetwork, twin: SRNetwork) -> float:
    """Compare evaluation outputs in FP32 on the CPU on inputs of several sizes; neither network is changed."""
    first, second = (private_copy(net, device="cpu", dtype=torch.float32).eval() for net in (network, twin))
    generator = torch.Generator().manual_seed(0)
    channels = first.hyperparameters.get("in_channels", 3)
    worst = 0.0
    for height, width in _CHECKED_SIZES:
        image = torch.rand(1, channels, height, width, generator=generator)
        expected, found = first(image), second(image)
        difference = (expected - found).abs().max() / expected.abs().max().clamp(min=1)
        worst = max(worst, difference.item()) if torch.isfinite(difference) else float("nan")
        if worst != worst:
            break
    return worst
