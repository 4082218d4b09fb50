"""Checkpoints whose pickles attack the reader. Each maker gets the path of a marker that a run attack creates."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from paragon_arch.errors import (
    CorruptCheckpointError,
    InvalidWeightsError,
    ParagonError,
    UnsafeCheckpointError,
    UnsupportedFormatError,
)


@dataclass(frozen=True)
class Case:
    """A broken file: its name, what writes its content, the exact error, and a word of its message."""

    name: str
    make: Callable[[Path], bytes]
    error: type[ParagonError]
    word: str


def zipped(data_pkl: bytes, entries: Mapping[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file of torch.save with this pickle; one storage "0" of 4 float32 unless entries are given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/version", b"3\n")
        for name, data in ({"archive/data/0": bytes(16)} if entries is None else entries).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def legacy(data_pkl: bytes) -> bytes:
    """The same in the format of torch before 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    return b"".join(head) + data_pkl + pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16)


def text(value: str) -> bytes:
    """BINUNICODE."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    """BININT, or LONG1 where it does not fit."""
    return b"J" + struct.pack("<i", value) if abs(value) < 2**31 else b"\x8a\x09" + struct.pack("<q", value) + b"\0"


def numbers(values: tuple[int, ...]) -> bytes:
    """A tuple of integers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(kind: str = "FloatStorage", numel: int = 4, key: str = "0", tag: str = "storage") -> bytes:
    """Persistent id of a storage."""
    return b"(" + text(tag) + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(numel) + b"tQ"


def tensor(shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, where: bytes = storage()) -> bytes:
    """A tensor as torch.save writes it."""
    arguments = where + number(offset) + numbers(shape) + numbers(stride) + b"\x89}"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state(value: bytes, key: bytes = text("weight")) -> bytes:
    """A state dict with one entry."""
    return b"\x80\x02}(" + key + value + b"u."


def shell(marker: Path) -> str:
    return f"touch {marker}"


def call(target: str, argument: str) -> bytes:
    """GLOBAL and REDUCE with one text argument."""
    return b"c" + target.replace(" ", "\n").encode() + b"\n" + text(argument) + b"\x85R"


def python(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


class _Reduce:
    """An object that pickles into a call."""

    def __init__(self, *reduced: Any) -> None:
        self._reduced = reduced

    def __reduce__(self) -> Any:
        return self._reduced


def _dumped(*reduced: Any, protocol: int = 2) -> bytes:
    return pickle.dumps({"weight": _Reduce(*reduced)}, protocol)


def _stack_global_memo(marker: Path) -> bytes:
    """Module and name come from the memo, in swapped order, behind decoys."""
    names = text("system") + b"\x94" + text("os") + b"\x94" + text("collections") + b"\x94000"
    return b"\x80\x04}(" + text("weight") + names + b"h\x01h\x00\x93" + text(shell(marker)) + b"\x85Ru."


def _build_setstate(marker: Path) -> bytes:
    """BUILD on an instance of a class whose __setstate__ acts."""
    return state(b"csite\nPrinter\n)\x81}(" + text("command") + text(shell(marker)) + b"ub")


def _discarded_result(marker: Path) -> bytes:
    """A good tensor; the result of the call next to it is popped."""
    return state(tensor((2, 2), (2, 1)) + call("os system", shell(marker)) + b"0")


def _deep_list(_: Path) -> bytes:
    return zipped(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")


def _nested_tuples(_: Path) -> bytes:
    """A dictionary key whose hash takes 2^60 steps."""
    return zipped(b"\x80\x02})" + b"2\x86" * 60 + b"Ns.")


def _self_reference(_: Path) -> bytes:
    return zipped(b"\x80\x02}q\x00(" + text("params") + b"h\x00u.")


def _sparse(_: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.eye(3).to_sparse()}, buffer)
    return buffer.getvalue()


def _saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _nan(_: Path) -> bytes:
    return _saved({"conv.weight": torch.tensor([1.0, float("nan"), float("inf")])})


_UNSAFE = UnsafeCheckpointError
_CORRUPT = CorruptCheckpointError
_PARTIAL = functools.partial

PICKLES: tuple[Case, ...] = (
    # Calls of dangerous functions, in every container and by every instruction that can name one.
    Case("os_system.pth", lambda m: zipped(state(call("os system", shell(m)))), _UNSAFE, "os.system"),
    Case("posix_system.pth", lambda m: zipped(state(call("posix system", shell(m)))), _UNSAFE, "posix.system"),
    Case("legacy_os_system.pth", lambda m: legacy(state(call("os system", shell(m)))), _UNSAFE, "os.system"),
    Case("plain_pickle.pth", lambda m: state(call("os system", shell(m))), _UNSAFE, "os.system"),
    Case("protocol_0.pt", lambda m: f"cos\nsystem\n(S'{shell(m)}'\ntR.".encode(), _UNSAFE, "os.system"),
    Case("protocol_0.bin", lambda m: f"(S'{shell(m)}'\nios\nsystem\n.".encode(), _UNSAFE, "os.system"),
    Case("renamed.safetensors", lambda m: zipped(state(call("os system", shell(m)))), _UNSAFE, "os.system"),
    Case("builtins_eval.pth", lambda m: zipped(state(call("builtins eval", python(m)))), _UNSAFE, "builtins.eval"),
    Case("builtins_exec.ckpt", lambda m: zipped(state(call("builtins exec", python(m)))), _UNSAFE, "builtins.exec"),
    Case("python2_exec.pth", lambda m: zipped(state(call("__builtin__ eval", python(m)))), _UNSAFE, "__builtin__"),
    Case("builtins_getattr.pth", lambda m: zipped(_dumped(getattr, (m, "touch"))), _UNSAFE, "builtin__.getattr"),
    Case("import_module.pth", lambda _: zipped(state(call("importlib import_module", "this"))), _UNSAFE, "importlib"),
    Case("subprocess.pth", lambda m: zipped(state(call("subprocess Popen", shell(m)))), _UNSAFE, "subprocess"),
    Case("runpy.pth", lambda m: zipped(state(call("runpy run_path", str(m)))), _UNSAFE, "runpy.run_path"),
    Case("torch_jit_load.pth", lambda m: zipped(state(call("torch.jit load", str(m)))), _UNSAFE, "torch.jit"),
    Case("torch_load.pth", lambda m: zipped(state(call("torch.serialization load", str(m)))), _UNSAFE, "torch.ser"),
    Case("torch_hub.pth", lambda m: zipped(state(call("torch.hub load", str(m)))), _UNSAFE, "torch.hub"),
    Case("numpy_load.pth", lambda m: zipped(state(call("numpy load", str(m)))), _UNSAFE, "numpy.load"),
    Case("partial.pth", lambda m: zipped(_dumped(_PARTIAL(Path.touch, m), ())), _UNSAFE, "functools.partial"),
    Case(
        "nested_reduce.pth",
        lambda m: zipped(_dumped(map, (_Reduce(getattr, (m, "touch")), [1]))),
        _UNSAFE,
        "itertools.imap",
    ),
    Case("reduce_of_result.pth", lambda _: zipped(state(b"ctorch\nSize\n))\x85R)R")), _UNSAFE, "not a known function"),
    Case("discarded_result.pth", lambda m: zipped(_discarded_result(m)), _UNSAFE, "os.system"),
    Case("stack_global.pth", lambda m: zipped(_dumped(Path.touch, (m,), protocol=4)), _UNSAFE, "Path.touch"),
    Case("stack_global_memo.pth", lambda m: zipped(_stack_global_memo(m)), _UNSAFE, "os.system"),
    Case("dotted_name.pth", lambda m: zipped(state(call("torch serialization.os.system", shell(m)))), _UNSAFE, "os.s"),
    Case("opcode_inst.pth", lambda m: zipped(state(b"(" + text(shell(m)) + b"ios\nsystem\n")), _UNSAFE, "os.system"),
    Case("opcode_obj.pth", lambda m: zipped(state(b"(cos\nsystem\n" + text(shell(m)) + b"o")), _UNSAFE, "os.system"),
    Case("opcode_newobj.pth", lambda m: zipped(state(b"cos\nsystem\n" + text(shell(m)) + b"\x85\x81")), _UNSAFE, "os"),
    Case("opcode_ext1.pth", lambda _: zipped(state(b"\x82\x01)R")), _UNSAFE, "EXT1"),
    Case("opcode_persid.pth", lambda _: zipped(state(b"Pos.system\n")), _UNSAFE, "PERSID"),
    Case("opcode_long.pth", lambda _: zipped(state(b"L" + b"9" * 1_000_000 + b"L\n")), _UNSAFE, "LONG"),
    Case("build_setstate.pth", lambda m: zipped(_build_setstate(m)), _UNSAFE, "site.Printer"),
    Case("build_on_storage.pth", lambda _: zipped(state(storage() + b"}b")), _UNSAFE, "state"),
    Case("persistent_module.pth", lambda _: zipped(state(storage(tag="module"))), _UNSAFE, "external object"),
    Case("persistent_text.pth", lambda _: zipped(state(text("storage") + b"Q")), _UNSAFE, "external object"),
    Case("whole_module.pth", lambda _: _saved(torch.nn.Conv2d(1, 1, 1)), _UNSAFE, "torch.nn.modules.conv.Conv2d"),
    # Pickles that are wrong or that exhaust memory or time.
    Case("stack_underflow.pth", lambda _: zipped(b"\x80\x02\x87."), _CORRUPT, "damaged"),
    Case("no_stop.pth", lambda _: zipped(b"\x80\x02}"), _CORRUPT, "ends too early"),
    Case("missing_memo.pth", lambda _: zipped(state(b"h\x07")), _CORRUPT, "damaged"),
    Case("long_text.pth", lambda _: zipped(state(b"X\xff\xff\xff\xff")), _CORRUPT, "damaged"),
    Case("deep_list.pth", _deep_list, UnsupportedFormatError, "list"),
    Case("hash_bomb.pth", _nested_tuples, _CORRUPT, "no weights"),
    Case("self_reference.pth", _self_reference, _CORRUPT, "no weights"),
    Case("endless.pth", lambda _: zipped(b"\x80\x02" + b"N0" * 1_000_000 + b"N."), _CORRUPT, "instructions"),
    Case("huge_pickle.pth", lambda _: zipped(b"N" * (17 * 2**20)), _CORRUPT, "pickle has"),
    # Tensors that are not what they say.
    Case("huge_shape.pth", lambda _: zipped(state(tensor((2**20, 2**20), (2**20, 1)))), _CORRUPT, "does not fit"),
    Case("expanded.pth", lambda _: zipped(state(tensor((2**20, 2**20), (0, 0)))), _CORRUPT, "does not fit"),
    Case("offset.pth", lambda _: zipped(state(tensor((4,), (1,), offset=1))), _CORRUPT, "does not fit"),
    Case("negative_stride.pth", lambda _: zipped(state(tensor((2,), (-1,)))), _CORRUPT, "non-negative"),
    Case("ranks_differ.pth", lambda _: zipped(state(tensor((2, 2), (1,)))), _CORRUPT, "strides"),
    Case("empty_tensor.pth", lambda _: zipped(state(tensor((0, 3), (3, 1)))), _CORRUPT, "shape"),
    Case("storage_size.pth", lambda _: zipped(state(tensor((5,), (1,), 0, storage(numel=5)))), _CORRUPT, "declared"),
    Case(
        "storage_dtype.pth", lambda _: zipped(state(tensor((4,), (1,), 0, storage("IntStorage", 9)))), _CORRUPT, "int32"
    ),
    Case("storage_lost.pth", lambda _: zipped(state(tensor((4,), (1,))), {}), _CORRUPT, "lacks"),
    Case("storage_path.pth", lambda _: zipped(state(tensor((4,), (1,), 0, storage(key="../0")))), _CORRUPT, "lacks"),
    Case("storage_twice.pth", lambda _: zipped(state(storage() + storage(numel=3))), _CORRUPT, "twice"),
    Case("no_storage.pth", lambda _: zipped(state(tensor((4,), (1,), 0, b"N"))), _CORRUPT, "storage"),
    Case("legacy_cut.pth", lambda _: legacy(state(tensor((4,), (1,))))[:-5], _CORRUPT, "should have"),
    Case("legacy_head_cut.pth", lambda _: legacy(state(tensor((4,), (1,))))[:40], _CORRUPT, "damaged"),
    Case("sparse.pth", _sparse, UnsupportedFormatError, "sparse"),
    Case("meta.pth", lambda _: _saved({"weight": torch.empty(3, device="meta")}), UnsupportedFormatError, "meta"),
    Case("nan.pth", _nan, InvalidWeightsError, "conv.weight"),
    Case("text_leaf.pth", lambda _: zipped(state(tensor((4,), (1,)) + text("b") + text("c"))), _CORRUPT, "not a te"),
    Case("integer_key.pth", lambda _: zipped(state(tensor((4,), (1,)), key=b"K\x01")), _CORRUPT, "not text"),
    Case("collision.pth", lambda _: _saved({"a.b": torch.ones(1), "a._orig_mod.b": torch.ones(1)}), _CORRUPT, "become"),
    Case("no_dictionary.pth", lambda _: _saved(torch.ones(3)), UnsupportedFormatError, "not a state dict"),
    Case("other_pickle.pth", lambda _: pickle.dumps({"a": 1}), UnsupportedFormatError, "not one of torch.save"),
    Case("no_weights.pth", lambda _: _saved({"epoch": 3, "model": {"name": "x"}}), _CORRUPT, "no weights"),
)
