"""From a layout and a state dict to a network, checked tensor by tensor before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .errors import StateMismatchError
from .layouts.base import Hyper, Layout
from .networks.base import SRNetwork, structure_only

_MAX_REPEATS = 256
"""Blocks of a network; the largest of the family has 144."""
_TENSORS = 4
"""The fewest that a block has."""


def build(layout: Layout, hyper: Hyper, state: Mapping[str, Tensor], where: str) -> SRNetwork:
    """Build the network of ``hyper`` and give it the tensors of ``state`` as float32 copies.

    Returns:
        The network in evaluation mode, on the CPU, without gradients.

    Raises:
        StateMismatchError: tensors are missing, unexpected, misshapen or of a wrong kind; nothing was allocated.
    """
    network = check(layout, hyper, state, where)
    wanted = network.state_dict()
    network.load_state_dict({key: _copied(state[key], wanted[key]) for key in wanted}, assign=True)
    return network.eval().requires_grad_(False)


def check(layout: Layout, hyper: Hyper, state: Mapping[str, Tensor], where: str) -> SRNetwork:
    """Hold the names, shapes and kinds of the tensors of ``state``, not their data, against the network of ``hyper``.

    Returns:
        The network, without memory.

    Raises:
        StateMismatchError: as `build`.
    """
    repeats = hyper.get("num_groups", 1) * hyper.get("num_blocks", 1) + hyper.get("hr_blocks", 0)
    if repeats > min(_MAX_REPEATS, len(state) // _TENSORS):
        raise StateMismatchError(
            f"{where}: its block numbers do not count up from 0, or are too many; the file is damaged"
        )
    try:
        with structure_only():  # shapes only: a lying header cannot make us allocate
            network = layout.network(**hyper)
    except (ValueError, RuntimeError, ZeroDivisionError, AssertionError) as error:
        raise StateMismatchError(f"{where}: no {layout.id} model has such sizes ({error})") from error
    _compare(layout, network.state_dict(), state, where)
    return network


def _copied(tensor: Tensor, wanted: Tensor) -> Tensor:
    dtype = torch.float32 if wanted.is_floating_point() else wanted.dtype
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()


def _serves_as(tensor: Tensor, wanted: Tensor) -> bool:
    """Whether values mean the same in the wanted type: converters make numbers of a whole file half precision.

    Values that are not read yet, of a tensor on the meta device, are not in doubt.
    """
    if tensor.is_meta and not wanted.is_floating_point():
        return True
    if wanted.dtype == torch.bool:
        return bool(((tensor == 0) | (tensor == 1)).all())
    if wanted.is_floating_point() or not tensor.is_floating_point():
        return wanted.is_floating_point() == tensor.is_floating_point()
    return bool((tensor == tensor.round()).all())


def _compare(layout: Layout, expected: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> None:
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    misshapen = [
        f"{key} is {list(state[key].shape)}, not {list(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    mistyped = [
        f"{key} is {state[key].dtype}, not {expected[key].dtype}"
        for key in expected
        if key in state and not _serves_as(state[key], expected[key])
    ]
    faults = [
        f"{len(found)} {what} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
        for what, found in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of a wrong shape", misshapen),
            ("of a wrong type", mistyped),
        )
        if found
    ]
    if faults:
        raise StateMismatchError(
            f"{where}: looks like layout {layout.id}, but of its tensors {'; '.join(faults)}; "
            "the file is damaged or was saved by a modified network"
        )
