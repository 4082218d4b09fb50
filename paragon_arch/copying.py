"""Private copies of networks: what a host program hung on a network never comes along.

Hosts hang native handles on networks that pass through their hands (ComfyUI's DynamicVRAM: ``dynamic_pins``). A deep
copy copies such a handle with its pointer, and both free the same memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from .networks.base import SRNetwork, structure_only

M = TypeVar("M", bound=nn.Module)

HOST_PREFIX = "dynamic_"
"""Beginning of the names of the handles that ComfyUI hangs on networks of any family."""
_FLAGS = (bool, int, float, str)
"""No handles, whatever they are called."""


def private_copy(network: M, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> M:
    """A copy of a network that shares no tensor with it.

    A generator of the family is built anew from its hyper-parameters and tensors, and its flags are set as they are.
    Any other module is copied attribute by attribute: tensors, modules and containers are copied, handles with
    `HOST_PREFIX` stay behind, and whatever else there is, is the same object in both.

    Args:
        network: not changed, and not moved.
        device: of the copy; None for that of each tensor. "meta" copies shapes without contents.
        dtype: of the copy's floating tensors; None for that of each tensor.
    """

    def tensor(x: Tensor) -> Tensor:
        x = x.detach()
        if str(device) == "meta":
            return torch.empty_like(x, device=device, dtype=dtype if x.is_floating_point() else None)
        # first the device, then the type: not every device has every type
        moved = x.to(device or x.device, copy=True)
        return moved.to(dtype) if x.is_floating_point() else moved

    with torch.inference_mode(mode=False), torch.no_grad():
        twin = _rebuilt(network, tensor) if isinstance(network, SRNetwork) else None
        return cast("M", twin or _Copier(tensor).module(network))


def _rebuilt(network: SRNetwork, tensor: Callable[[Tensor], Tensor]) -> SRNetwork | None:
    """The network of the same hyper-parameters with the same tensors; None if parts of it were exchanged since."""
    with structure_only():
        twin = type(network)(**network.hyperparameters)
    state = network.state_dict()
    if _structure(twin) != _structure(network) or twin.state_dict().keys() != state.keys():
        return None
    twin.load_state_dict({key: tensor(value) for key, value in state.items()}, assign=True)
    for mine, theirs in zip(twin.parameters(), network.parameters(), strict=True):
        mine.requires_grad_(theirs.requires_grad)
    for mine, theirs in zip(twin.modules(), network.modules(), strict=True):
        known = vars(mine)  # flags and counters that changed since
        known.update((name, v) for name, v in vars(theirs).items() if name in known and type(v) in _FLAGS)
    return twin


def _structure(network: nn.Module) -> list[tuple[str, type[nn.Module]]]:
    modules = cast("Iterator[tuple[str, nn.Module]]", network.named_modules())  # torch's stubs know half of it
    return [(name, type(module)) for name, module in modules]


class _Copier:
    """Copies modules attribute by attribute; what occurs twice occurs twice in the copy, too."""

    def __init__(self, tensor: Callable[[Tensor], Tensor]) -> None:
        self._tensor = tensor
        self._made: dict[int, Any] = {}

    def module(self, original: nn.Module) -> nn.Module:
        """The copy of a module."""
        if id(original) not in self._made:
            twin = self._made[id(original)] = type(original).__new__(type(original))
            for name, value in vars(original).items():
                if not name.startswith(HOST_PREFIX) or type(value) in _FLAGS:
                    vars(twin)[name] = self._value(value)
        return self._made[id(original)]

    def _value(self, value: object) -> Any:
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, Tensor):
            return self._of_tensor(value)
        if isinstance(value, MethodType) and isinstance(value.__self__, nn.Module):
            return MethodType(value.__func__, self.module(value.__self__))
        kind: Any = type(value)
        if kind in (list, tuple, set):
            return cast("Any", kind(self._value(item) for item in cast("list[Any]", value)))
        if kind in (dict, OrderedDict):
            return cast("Any", kind((key, self._value(item)) for key, item in cast("dict[Any, Any]", value).items()))
        return value

    def _of_tensor(self, original: Tensor) -> Tensor:
        if id(original) not in self._made:
            copied = self._tensor(original)
            if isinstance(original, nn.Parameter):
                copied = nn.Parameter(copied, requires_grad=original.requires_grad)
            self._made[id(original)] = copied
        return self._made[id(original)]
