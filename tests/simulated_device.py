"""A device that is not there: tensors that say they are on it, whose values lie in the CPU's memory.

Everything that PyTorch does with them is computed by the CPU, after the checks that a real device would make: operands
of one operation are on one device, and on a device without float64 no such number comes to life, nor is anything
converted to it on the way out. What crosses between device and host is counted.

    with simulated(doubles=False) as device:
        model.to(device.device)

It is called "cuda", because PyTorch's builds for Linux know no other accelerator by name.

Real kernels, speed and memory are not simulated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

_ATTENTION = torch.nn.functional.scaled_dot_product_attention
MEMORY = 8 << 30
"""Bytes that a simulated CUDA device has."""


class DeviceError(AssertionError):
    """Something was done that a real device refuses."""


class Tensors(torch.Tensor):
    """A tensor on a simulated device."""

    held: Tensor
    """Its values, on the CPU."""
    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    def __new__(cls, held: Tensor, device: torch.device) -> Tensors:
        make: Any = getattr(torch.Tensor, "_make_wrapper_subclass")  # noqa: B009 - missing in torch's stubs
        made: Tensors = make(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
            requires_grad=False,
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"on {self.device}: {self.held!r}"

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        assert Simulation.current is not None
        return Simulation.current.__torch_dispatch__(func, types, args, kwargs)


class Simulation(TorchDispatchMode):
    """Answers for a device.

    Attributes:
        device: the device.
        uploads: copies from the host.
        downloads: copies to the host.
        operations: what was computed on it, by name.
    """

    current: Simulation | None = None

    def __init__(self, *, doubles: bool) -> None:
        super().__init__()
        self.device, self._doubles = torch.device("cuda", 0), doubles
        self.uploads = self.downloads = 0
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        # values and views of the inference mode could not be told from others by the class around them
        with torch.inference_mode(mode=False), torch.no_grad():
            return self.run(func, args, dict(kwargs or {}))

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operation."""
        name = func._schema.name.removeprefix("aten::")
        with self:  # tensors of the inference mode come with operations that are not taken apart yet
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        here = any(isinstance(x, Tensors) for x in given)
        wanted = kwargs.get("device")
        target = torch.device(wanted) if wanted is not None else self.device if here else torch.device("cpu")
        there = target.type == self.device.type
        if not here and not there:
            return func(*args, **kwargs)
        self._check(name, given)
        if wanted is not None:
            kwargs["device"] = torch.device("cpu") if there else target
        self._count(name, given, there=there)
        plain_args, plain_kwargs = tree_map(_held, (args, kwargs))
        with torch._C.DisableTorchFunctionSubclass():  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
            result = func(*plain_args, **plain_kwargs)
        if name == "_to_copy" and not there:
            self._refuse_doubles(name, [result])  # it is converted before it leaves
        if not there:
            return _same(result, plain_args, plain_kwargs, args, kwargs)
        wrapped = tree_map(self._wrapped, result)
        self._refuse_doubles(name, [x for x in tree_flatten(result)[0] if isinstance(x, Tensor)])
        return _same(result, plain_args, plain_kwargs, args, kwargs, wrapped)

    def _wrapped(self, x: Any) -> Any:
        return Tensors(x, self.device) if isinstance(x, Tensor) else x

    def attention(self, *args: Any, **kwargs: Any) -> Any:
        """Attention, whose choice of a kernel asks the device."""
        if not any(isinstance(x, Tensors) for x in args):
            return _ATTENTION(*args, **kwargs)
        given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        self._check("attention", given)
        self._count("attention", given, there=True)
        plain_args, plain_kwargs = tree_map(_held, (args, kwargs))
        return Tensors(_ATTENTION(*plain_args, **plain_kwargs), self.device)

    def _check(self, name: str, given: list[Tensor]) -> None:
        kinds = {"here" if isinstance(x, Tensors) else "cpu" for x in given if x.dim() or isinstance(x, Tensors)}
        if len(kinds) > 1 and name not in ("copy_", "_to_copy", "copy", "_foreach_copy_"):
            raise DeviceError(f"{name}: operands on {self.device} and on the CPU")

    def _count(self, name: str, given: list[Tensor], *, there: bool) -> None:
        here = [isinstance(x, Tensors) for x in given]
        if name in ("copy_", "_to_copy", "copy") and len(set(here + ([there] if name == "_to_copy" else []))) > 1:
            upward = there if name == "_to_copy" else here[0]
            self.uploads, self.downloads = self.uploads + upward, self.downloads + (not upward)
        elif name in ("_local_scalar_dense", "item"):
            self.downloads += 1
        elif any(here):
            self.operations[name] += 1

    def _refuse_doubles(self, name: str, found: list[Tensor]) -> None:
        if not self._doubles and any(x.dtype == torch.float64 for x in found):
            raise DeviceError(f"{name}: {self.device} has no float64")


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Tensors) else x


def _same(result: Any, plain_args: Any, plain_kwargs: Any, args: Any, kwargs: Any, otherwise: Any = None) -> Any:
    """The very argument that an operation in place returns, not another tensor of the same values."""
    if isinstance(result, Tensor):
        pairs = zip(tree_flatten((plain_args, plain_kwargs))[0], tree_flatten((args, kwargs))[0], strict=True)
        for plain, own in pairs:
            if plain is result:
                return own
    return result if otherwise is None else otherwise


def _answer(value: object) -> Callable[..., object]:
    def answer(*_: object, **__: object) -> object:
        return value

    return answer


@contextmanager
def simulated(*, doubles: bool = True) -> Generator[Simulation, None, None]:
    """Let a device exist, with float64 or, as Apple's and most of Intel's, without."""
    torch._C._ensureCUDADeviceGuardSet()  # pyright: ignore  as PyTorch's own fake tensors do it
    simulation = Simulation(doubles=doubles)
    Simulation.current = simulation
    answers: dict[str, Any] = {
        "torch.cuda._lazy_init": _answer(None),
        "torch.cuda.is_bf16_supported": _answer(True),
        "torch.cuda.mem_get_info": _answer((MEMORY, MEMORY)),
        "torch.cuda.memory_reserved": _answer(0),
        "torch.cuda.memory_allocated": _answer(0),
        "torch.cuda.get_device_name": _answer("a simulated card"),
        "torch.nn.functional.scaled_dot_product_attention": simulation.attention,
    }
    if not doubles:
        answers["paragon_arch.networks.stages.WITH_DOUBLES"] = ("cpu",)
    patches = [mock.patch(name, answer) for name, answer in answers.items()]
    replaced = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else parameters would keep the CPU's class
    try:
        for patch in patches:
            patch.start()
        with simulation:
            yield simulation
    finally:
        for patch in patches:
            patch.stop()
        torch.__future__.set_overwrite_module_params_on_conversion(replaced)
        Simulation.current = None
