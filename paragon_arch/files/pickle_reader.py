"""Reading the pickles inside torch files without unpickling them.

`interpret` is a small interpreter of pickle instructions that builds dictionaries, lists, numbers, text and
descriptions of tensors. It never imports a module, looks up an attribute or calls what a file names: a global is
only a name here, to be found in the tables below or refused. This holds on every version of Python and torch and
does not rely on ``torch.load(weights_only=True)``, whose own checks have been bypassed before (CVE-2025-32434).
"""

from __future__ import annotations

import math
import pickletools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

import torch

from ..errors import CorruptCheckpointError, UnsafeCheckpointError
from .budget import MAX_AXES, Budget, checked_shape

MAX_PICKLE = 16 * 2**20
"""Largest pickle that is read, in bytes; that of a training state with 10,000 tensors takes about 2 MiB."""
_MAX_STEPS = 1_000_000
_LARGEST_KEY = 2**60
"""Larger ones can be chosen to have one hash, as fractions can; hashing a nested tuple may take for ever."""

DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class Storage:
    """A block of numbers somewhere in the file."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a view of a storage, checked to lie inside it. Offset and stride count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes that its elements take."""
        return math.prod(self.shape) * self.storage.dtype.itemsize


@dataclass(frozen=True)
class UnreadableTensor:
    """A tensor of a kind that is never a weight of ours."""

    kind: str
    """"sparse", "quantised" or "meta"."""


@dataclass(frozen=True)
class Opaque:
    """A harmless object that is not built, such as a NumPy scalar or a device."""

    name: str


@dataclass(frozen=True)
class _Global:
    """The name of a module's member, which is all we ever want of it."""

    name: str


_OPAQUE = frozenset(
    {
        "_codecs.encode",
        "argparse.Namespace",
        *(
            f"{module}.{name}"
            for module in ("builtins", "__builtin__")
            for name in (
                "bytearray",
                "bytes",
                "complex",
                "dict",
                "float",
                "frozenset",
                "int",
                "list",
                "object",
                "set",
                "slice",
                "str",
                "tuple",
            )
        ),
        *(
            f"{module}.{name}"
            for module in ("pathlib", "pathlib._local")  # the second since Python 3.13
            for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
        ),
        "collections.deque",
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "datetime.date",
        "datetime.datetime",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "enum.Enum",
        "fractions.Fraction",
        "logging.Logger",
        "types.SimpleNamespace",
        "typing.Any",
        "uuid.UUID",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.numeric._frombuffer",
        "numpy._core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.numeric._frombuffer",
        "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random._pickle.__generator_ctor",
        "numpy.random._pickle.__randomstate_ctor",
        "torch.Tensor",
        "torch.device",
        "torch.serialization._get_layout",
        *(str(dtype) for dtype in DTYPES.values()),
    }
)
"""Globals that stand in training states next to the weights; they are accepted as names and never looked up."""
_STANDARD = sys.stdlib_module_names | {"__builtin__", "copy_reg", "commands", "cPickle"}
_ATTACKERS = frozenset({"os", "posix", "nt", "sys", "subprocess", "builtins", "importlib", "shutil", "__globals__"})
"""Names that a class of a trainer never has on its way."""


def pickle_budget(size: int) -> Budget:
    """Steps for the pickles of a file, which take ``size`` bytes together.

    An instruction takes a byte or more, and a sound file copies no more items than it has.
    """
    return Budget(min(2 * size, _MAX_STEPS), "its pickle has instructions and copied items:")


def interpret(stream: IO[bytes], budget: Budget) -> tuple[Any, dict[str, Storage]]:
    """Read one pickle from the stream's position, and leave the stream behind it.

    Args:
        stream: in memory.
        budget: from `pickle_budget`; one for all pickles of a file.

    Returns:
        What it describes, made of dict, list, tuple, str, bytes, int, float, bool, None, `StoredTensor`,
        `UnreadableTensor` and `Opaque`; sets become lists; entries whose key is neither text nor a small whole number
        are left out. And the storages that it names, by key. The result may contain itself: do not walk it unbounded.

    Raises:
        UnsafeCheckpointError: it names a global, or uses an instruction, that a file of tensors does not need.
        CorruptCheckpointError: it is cut off, too long, contradicts itself, or is no pickle.
    """
    machine = _Machine(budget)
    try:
        return machine.run(stream), machine.storages
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CorruptCheckpointError(f"its pickle is damaged ({_brief(error)}); download or save it again") from error


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:120] + "..."


class _Machine:
    """The pickle machine's stack, marks and memo."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self, stream: IO[bytes]) -> Any:
        for name, argument in _instructions(stream):
            self.budget.spend()
            if name == "STOP":
                return self.stack.pop()
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _NEW:
                self.stack.append(_NEW[name]())
            elif name not in _IGNORED:
                _ACTIONS[name](self, argument)
        raise ValueError("it ends too early")

    def since_mark(self) -> list[Any]:
        """Take what was pushed after the last mark."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def take(self, count: int) -> list[Any]:
        """Take the last ``count`` values."""
        if count > len(self.stack):
            raise IndexError("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def storage(self, pid: Any) -> Storage:
        """The storage that a persistent id of torch names."""
        fields: list[Any] = list(cast("tuple[Any, ...]", pid)) if isinstance(pid, tuple) else []
        if len(fields) not in (5, 6) or type(fields[0]) is not str or fields[0] != "storage":
            raise UnsafeCheckpointError("it refers to an external object other than a tensor's data; nothing was run")
        _, kind, key, _, numel, *view = fields
        if not isinstance(kind, _Global) or not isinstance(key, str) or any(part is not None for part in view):
            raise ValueError("a storage is not described as torch does")
        storage = Storage(key, DTYPES[kind.name.rpartition(".")[2]], _count(numel))
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key!r} is described twice, differently")
        return storage


def _instructions(stream: IO[bytes]) -> Iterator[tuple[str, Any]]:
    while code := stream.read(1):
        instruction = _BY_CODE.get(code)
        if instruction is None:
            raise ValueError(f"byte {code!r} is no pickle instruction")
        if instruction.name not in _READABLE:  # before its argument is decoded
            raise UnsafeCheckpointError(
                f"it uses the pickle instruction {instruction.name}, which torch.save never writes; nothing was run. "
                "Convert it to safetensors with the tool that made it"
            )
        yield instruction.name, instruction.arg.reader(stream) if instruction.arg else None


# --- globals and what they build ---------------------------------------------------------------------------------


def _is_foreign_class(name: str) -> bool:
    """Whether a global looks like a class of a trainer: a callback, a configuration, a loss.

    Nothing is built of it, so this decides only whether a file is worth a warning: a function, or a class of Python's
    own library, is what an attack needs, and no training state does.
    """
    *modules, last = name.split(".")
    return (
        bool(modules)
        and last.lstrip("_")[:1].isupper()
        and modules[0] not in _STANDARD
        and _ATTACKERS.isdisjoint(modules)
    )


def _global(name: str) -> _Global:
    if name in _OPAQUE or name in _BUILDERS or name in _STORAGES or _is_foreign_class(name):
        return _Global(name)
    raise UnsafeCheckpointError(
        f"unpickling it would need {_brief(name)!r}, which a file of tensors does not need; nothing was run. If you "
        "trust its origin, convert it to safetensors, or save only the state_dict, with the tool that made it"
    )


def _call(target: Any, arguments: Any, budget: Budget) -> Any:
    """What a call of ``target`` stands for; nothing is called."""
    if not isinstance(target, _Global):
        raise UnsafeCheckpointError("it calls a value that is not a known function; nothing was run")
    if not isinstance(arguments, tuple):
        raise ValueError("the arguments of a call are not a tuple")
    builder = _BUILDERS.get(target.name)
    return builder(cast("tuple[Any, ...]", arguments), budget) if builder else Opaque(target.name)


def _build_tensor(arguments: tuple[Any, ...], _: Budget) -> StoredTensor:
    storage, offset, shape, stride = arguments[:4]
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without storage")
    tensor = StoredTensor(storage, _count(offset), checked_shape(_counts(shape)), _counts(stride))
    if len(tensor.shape) != len(tensor.stride):
        raise ValueError(f"a tensor has {len(tensor.shape)} axes but {len(tensor.stride)} strides")
    _check_extent(tensor)
    return tensor


def _check_extent(tensor: StoredTensor) -> None:
    numel = math.prod(tensor.shape)
    last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True))
    if numel and (last >= tensor.storage.numel or numel > tensor.storage.numel):
        raise CorruptCheckpointError(
            f"a tensor of shape {tensor.shape}, stride {tensor.stride} and offset {tensor.offset} does not fit its "
            f"storage of {tensor.storage.numel} elements; download or save it again"
        )


def _build_mapping(arguments: tuple[Any, ...], budget: Budget) -> dict[Any, Any]:
    if not arguments:
        return {}
    budget.spend(len(arguments[0]))
    pairs = cast("dict[Any, Any]", arguments[0]).items() if isinstance(arguments[0], dict) else arguments[0]
    return _new_mapping([part for key, value in pairs for part in (key, value)])


def _build_parameter(arguments: tuple[Any, ...], _: Budget) -> Any:
    if not isinstance(arguments[0], StoredTensor | UnreadableTensor):
        raise ValueError("a parameter without a tensor")
    return arguments[0]


def _build_subclass(arguments: tuple[Any, ...], budget: Budget) -> Any:
    """A tensor of a subclass, described by the call that builds a plain one."""
    target = arguments[0]
    if isinstance(target, _Global) and _BUILDERS.get(target.name) is _build_subclass:
        raise ValueError("a tensor of a subclass is described by another one")
    return _call(target, arguments[2], budget)


_BUILDERS: dict[str, Callable[[tuple[Any, ...], Budget], Any]] = {
    "collections.OrderedDict": _build_mapping,
    "collections.Counter": _build_mapping,
    "collections.defaultdict": lambda _, __: {},
    "torch.Size": lambda arguments, _: _counts(arguments[0]),
    "torch._utils._rebuild_tensor": _build_tensor,
    "torch._utils._rebuild_tensor_v2": _build_tensor,
    "torch._utils._rebuild_parameter": _build_parameter,
    "torch._utils._rebuild_parameter_with_state": _build_parameter,
    "torch.nn.parameter.Parameter": _build_parameter,
    "torch._tensor._rebuild_from_type_v2": _build_subclass,
    "torch._utils._rebuild_sparse_tensor": lambda _, __: UnreadableTensor("sparse"),
    "torch._utils._rebuild_qtensor": lambda _, __: UnreadableTensor("quantised"),
    "torch._utils._rebuild_meta_tensor_no_storage": lambda _, __: UnreadableTensor("meta"),
}
_STORAGES = frozenset(f"{module}.{name}" for module in ("torch", "torch.cuda") for name in DTYPES)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("a size or offset is not a non-negative integer")
    return value


def _counts(values: Any) -> tuple[int, ...]:
    counts = cast("tuple[Any, ...]", values) if isinstance(values, tuple | list) else None
    if counts is None or len(counts) > MAX_AXES:
        raise ValueError("a shape or stride is not a short tuple")
    return tuple(_count(value) for value in counts)


# --- instructions ------------------------------------------------------------------------------------------------


def _set_items(mapping: Any, items: list[Any]) -> None:
    if isinstance(mapping, Opaque):
        return
    if not isinstance(mapping, dict) or len(items) % 2:
        raise ValueError("an entry is set on something that is not a dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, str | bytes) or (isinstance(key, int) and abs(key) <= _LARGEST_KEY):
            mapping[key] = value


def _new_mapping(items: list[Any]) -> dict[Any, Any]:
    mapping: dict[Any, Any] = {}
    _set_items(mapping, items)
    return mapping


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        cast("list[Any]", target).extend(items)
    elif not isinstance(target, Opaque):
        raise ValueError("an item is appended to something that is not a list")


def _extend_since_mark(machine: _Machine) -> None:
    items = machine.since_mark()
    _extend(machine.stack[-1], items)


def _set_since_mark(machine: _Machine) -> None:
    items = machine.since_mark()
    _set_items(machine.stack[-1], items)


def _pop(machine: _Machine) -> None:
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()
    else:
        machine.stack.pop()


def _build(machine: _Machine) -> None:
    """Set an object's state: attributes of dictionaries (``_metadata``) and opaque objects do not matter."""
    machine.take(1)
    if not isinstance(machine.stack[-1], dict | Opaque):
        raise UnsafeCheckpointError("it sets the state of something that is not a container; nothing was run")


def _stack_global(machine: _Machine) -> None:
    module, name = machine.take(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a global's name is not text")
    machine.stack.append(_global(f"{module}.{name}"))


def _instance(machine: _Machine, argument: str) -> None:
    machine.stack.append(_call(_global(argument.replace(" ", ".", 1)), tuple(machine.since_mark()), machine.budget))


def _object(machine: _Machine) -> None:
    target, *arguments = machine.since_mark()
    machine.stack.append(_call(target, tuple(arguments), machine.budget))


def _memoize(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


_LITERALS = frozenset((
"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
"SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES",
"BINBYTES8", "BYTEARRAY8"
))  # fmt: skip
_NEW: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_IGNORED = frozenset({"PROTO", "FRAME"})
_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "POP": lambda m, _: _pop(m),
    "POP_MARK": lambda m, _: m.since_mark().clear(),
    "DUP": lambda m, _: _push(m, m.stack[-1]),
    "TUPLE": lambda m, _: _push(m, tuple(m.since_mark())),
    "TUPLE1": lambda m, _: _push(m, tuple(m.take(1))),
    "TUPLE2": lambda m, _: _push(m, tuple(m.take(2))),
    "TUPLE3": lambda m, _: _push(m, tuple(m.take(3))),
    "LIST": lambda m, _: _push(m, m.since_mark()),
    "FROZENSET": lambda m, _: _push(m, m.since_mark()),
    "DICT": lambda m, _: _push(m, _new_mapping(m.since_mark())),
    "APPEND": lambda m, _: _extend(m.stack[-2], m.take(1)),
    "APPENDS": lambda m, _: _extend_since_mark(m),
    "ADDITEMS": lambda m, _: _extend_since_mark(m),
    "SETITEM": lambda m, _: _set_items(m.stack[-3], m.take(2)),
    "SETITEMS": lambda m, _: _set_since_mark(m),
    "BINPUT": _memoize,
    "LONG_BINPUT": _memoize,
    "MEMOIZE": lambda m, _: _memoize(m, len(m.memo)),
    "BINGET": lambda m, index: _push(m, m.memo[index]),
    "LONG_BINGET": lambda m, index: _push(m, m.memo[index]),
    "GLOBAL": lambda m, name: _push(m, _global(name.replace(" ", ".", 1))),
    "STACK_GLOBAL": lambda m, _: _stack_global(m),
    "REDUCE": lambda m, _: _push(m, _call(*m.take(2), budget=m.budget)),
    "NEWOBJ": lambda m, _: _push(m, _call(*m.take(2), budget=m.budget)),
    "NEWOBJ_EX": lambda m, _: _push(m, _call(*m.take(3)[:2], budget=m.budget)),
    "INST": _instance,
    "OBJ": lambda m, _: _object(m),
    "BUILD": lambda m, _: _build(m),
    "BINPERSID": lambda m, _: _push(m, m.storage(m.take(1)[0])),
}
_READABLE = frozenset({"STOP"} | _LITERALS | _IGNORED | _NEW.keys() | _ACTIONS.keys())
_BY_CODE = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
