"""Blending: the weights between those of two trainings of one network."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from . import tracked
from .api import network_of
from .copying import private_copy
from .errors import InvalidOptionError, StateMismatchError
from .inspection import Inspection
from .loading import Opened
from .model import FamilyModel
from .networks.base import SRNetwork

if TYPE_CHECKING:
    from .spandrel_support import ParagonModelDescriptor

Model = TypeVar("Model", "ParagonModelDescriptor", FamilyModel, nn.Module)


def blend(a: Model, b: Model, weight: float) -> Model:
    """Interpolate two models of one network, tensor by tensor.

    Weights lie on a useful line between each other where one was trained on from the other, as a restoring model from
    its clean twin; models that were trained apart do not blend, although their tensors have the same shapes.

    Args:
        a, b: from `load` or `open_model`, or networks, both of one kind; left as they are.
        weight: of ``b``, 0 to 1: 0 gives ``a``, 1 gives ``b``, exactly.

    Returns:
        A new object of the same kind.

    Raises:
        InvalidOptionError: the weight is out of range, or the two are not one network: layout, sizes, scale, alpha,
            fused state or a flag differ; the message names what does.
        StateMismatchError: a tensor is in one of them alone or has another shape; the message names it.
    """
    if not 0 <= weight <= 1:  # NaN fails too
        raise InvalidOptionError(f"weight {weight:g} is out of range: give 0 (the first model) to 1 (the second)")
    first, second = network_of(a), network_of(b)
    _check_networks(first, second)
    network = private_copy(first)
    network.load_state_dict(_mixed(first.state_dict(), second.state_dict(), weight))
    if isinstance(a, nn.Module):
        return network  # pyright: ignore[reportReturnType] - a network comes back for a network
    other = cast("ParagonModelDescriptor | FamilyModel", b)  # the same kind as a
    report = _report(a.report, other.report, weight)
    return type(a)(Opened(network, a.layout, report))


def _check_networks(first: SRNetwork, second: SRNetwork) -> None:
    if type(first) is not type(second):
        raise InvalidOptionError(
            f"the models are of two layouts ({type(first).__name__}, {type(second).__name__}): only two trainings of "
            "one network can be blended"
        )
    if first.fused != second.fused:
        which = "first" if first.fused else "second"
        raise InvalidOptionError(f"only the {which} model is fused: fuse the other one, too, or blend unfused ones")
    one, other = first.hyperparameters, second.hyperparameters
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            raise InvalidOptionError(
                f"{name} is {one.get(name)!r} in the first model and {other.get(name)!r} in the second: only two "
                "trainings of one network can be blended"
            )


@torch.no_grad()
def _mixed(first: dict[str, Tensor], second: dict[str, Tensor], weight: float) -> dict[str, Tensor]:
    alone = sorted(first.keys() ^ second.keys())
    if alone:
        raise StateMismatchError(f"the tensor {alone[0]} is in one of the models alone: they cannot be blended")
    lacking = sorted(set(tracked.untracked(first)) ^ set(tracked.untracked(second)))
    if lacking:
        raise InvalidOptionError(f"{lacking[0]}: the kernel was tracked in one model alone; calibrate the other one")
    return {key: _between(key, tensor, second[key], weight) for key, tensor in first.items()}


def _between(key: str, a: Tensor, b: Tensor, weight: float) -> Tensor:
    if a.shape != b.shape:
        raise StateMismatchError(f"the tensor {key} is {list(a.shape)} in one model and {list(b.shape)} in the other")
    if not a.is_floating_point():
        if not torch.equal(a, b.to(a.device)):
            raise InvalidOptionError(f"{key}: is no weight and differs between the models: they cannot be blended")
        return a.clone()
    if weight in (0, 1):
        return (a if weight == 0 else b.to(a.device, a.dtype)).clone()
    wide = a.double() * (1 - weight) + b.to(a.device).double() * weight
    return wide.to(a.dtype)


def _report(a: Inspection, b: Inspection, weight: float) -> Inspection:
    """What is known about a blend: no file of its own, and where it comes from."""
    origin = json.dumps({"first": a.blend or a.name, "second": b.blend or b.name, "weight": round(weight, 6)})
    problems = tuple(dict.fromkeys((*a.problems, *b.problems)))
    return replace(a, path=None, format="blend", wrapper="", problems=problems, blend=origin)
