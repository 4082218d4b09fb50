"""Hostile checkpoints by the thousand: each follows from its kind and number alone, so that any can be made again."""

from __future__ import annotations

import functools
import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from tests.engine_models import state as model_state
from tests.hostile.hostile_files import safetensors
from tests.hostile.hostile_pickles import call, legacy, python, shell, state, storage, tensor, text, zipped

Maker = Callable[[random.Random, Path], bytes]
"""Source of chance, and the file that a run attack creates."""

_CALLS = (
    "os system", "posix system", "nt system", "subprocess getoutput", "subprocess check_output", "commands getoutput",
    "builtins eval", "builtins exec", "__builtin__ eval", "builtins __import__", "builtins open", "io open",
    "pty spawn", "runpy run_path", "importlib import_module", "pydoc pipepager", "timeit timeit",
    "torch.serialization load", "torch load", "torch.jit load", "torch.hub load", "torch.utils.cpp_extension load",
    "numpy load", "code InteractiveConsole", "joblib load", "dill loads",
    "numpy.testing._private.utils runstring", "pickle loads", "_pickle loads", "cloudpickle loads",
     "operator methodcaller", "operator attrgetter", "functools partial", "shutil rmtree",
    "webbrowser open", "ctypes CDLL", "socket socket", "http.client HTTPSConnection", "urllib.request urlopen",
    "asyncio.unix_events _UnixSubprocessTransport", "cProfile runctx", "pdb run", "bdb Bdb", "types CodeType",
    "types FunctionType", "sys exit", "os _exit", "os execv", "os kill", "signal raise_signal", "time sleep",
    "torch._utils _rebuild_tensor_v2.__globals__", "collections OrderedDict.__init__.__globals__",
    "spandrel ModelLoader",
)  # fmt: skip
_TREES = ("params_ema", "params", "state_dict", "model", "net_g")


@functools.cache
def _weights() -> dict[str, Tensor]:
    return model_state()


def _saved(value: Any, *, new: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


@functools.cache
def _valid(kind: str) -> bytes:
    if kind == "safetensors":
        return save(_weights(), {"format": "pt", "paragonsr.scale": "2"})
    return _saved({"params_ema": _weights(), "epoch": 3}, new=kind == "zip")


def _any_valid(chance: random.Random) -> bytes:
    return _valid(chance.choice(("safetensors", "zip", "legacy")))


def _bits(chance: random.Random, _: Path) -> bytes:
    """One to sixteen bits flipped, half of the time in the first kilobyte."""
    data = bytearray(_any_valid(chance))
    for _index in range(chance.choice((1, 2, 16))):
        data[chance.randrange(chance.choice((1024, len(data))))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _cut(chance: random.Random, _: Path) -> bytes:
    data = _any_valid(chance)
    return data[: chance.choice((chance.randrange(len(data)), len(data) - chance.randrange(1, 64)))]


def _spliced(chance: random.Random, _: Path) -> bytes:
    """Pieces overwritten, repeated or removed."""
    data = bytearray(_any_valid(chance))
    for _index in range(chance.choice((1, 1, 2, 8))):
        at, length = chance.randrange(len(data)), chance.randrange(1, 9)
        piece = {"overwrite": chance.randbytes(length), "repeat": bytes(data[at : at + length]) * 2, "remove": b""}
        data[at : at + length] = piece[chance.choice(tuple(piece))]
    return bytes(data)


def _header(chance: random.Random, _: Path) -> bytes:
    """A safetensors header in which one entry lies."""
    data = _valid("safetensors")
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    name = chance.choice([key for key in header if key != "__metadata__"])
    entry: dict[str, Any] = header[name]
    begin, end = entry["data_offsets"]
    huge = chance.choice((2**31, 2**40, 2**63 - 1, 2**64, -1, 0))
    lies: list[dict[str, Any]] = [
        {"dtype": chance.choice(("F64", "I8", "BOOL", "F8_E5M2", "C64", "", None, 7))},
        {"shape": [*entry["shape"], chance.choice((2, 3, huge))]},
        {"shape": [huge, huge]},
        {"shape": chance.choice((None, "3", [[3]], [3.5], [True], [-3]))},
        {"data_offsets": [begin + chance.randrange(1, 9), end]},
        {"data_offsets": [begin, end + chance.randrange(1, 9)]},
        {"data_offsets": [begin, huge]},
        {"data_offsets": [end, begin] if end > begin else [1]},
        {"data_offsets": chance.choice((None, [], [0], [0, 1, 2], ["0", "4"]))},
    ]
    header[name] = {**entry, **chance.choice(lies)}
    body = json.dumps(header).encode()
    if chance.random() < 0.2:  # the same name a second time
        body = body[:-1] + f', "{name}": {json.dumps(entry)}'.encode() + b"}"
    return struct.pack("<Q", len(body)) + body + data[8 + length :]


def _absurd(chance: random.Random, _: Path) -> bytes:
    """Shapes of terabytes, in every way that a file can claim them."""
    sides = tuple(chance.choice((2**20, 2**31, 2**40, 2**62)) for _index in range(chance.randrange(1, 5)))
    if chance.random() < 0.3:
        return safetensors({"conv_in.weight": {"dtype": "F32", "shape": list(sides), "data_offsets": [0, 16]}})
    strides = chance.choice((tuple(0 for _side in sides), tuple(1 for _side in sides), sides))
    claimed = storage(numel=chance.choice((4, 2**40, 2**62)))
    pickled = state(tensor(sides, strides, chance.choice((0, 0, 2**50)), claimed), text("conv_in.weight"))
    return chance.choice((zipped, legacy))(pickled)


def _not_finite(chance: random.Random, _: Path) -> bytes:
    weights = {key: value.clone() for key, value in _weights().items()}
    key = chance.choice([key for key, value in weights.items() if value.is_floating_point() and value.numel()])
    flat = weights[key].view(-1)
    flat[chance.randrange(len(flat))] = chance.choice((float("nan"), float("inf"), -float("inf")))
    weights[key] = weights[key].to(chance.choice((torch.float32, torch.float16, torch.bfloat16)))
    return save(weights) if chance.random() < 0.5 else _saved({chance.choice(_TREES): weights})


def _reduced(chance: random.Random, marker: Path, depth: int) -> bytes:
    """A call, perhaps of the result of a call, perhaps inside of harmless containers."""
    if depth:
        inner = _reduced(chance, marker, depth - 1)
        wraps = (b"(" + inner + b"l", b"}(K\x01" + inner + b"u", inner + b"\x85", inner + b"0" + inner, inner + b")R")
        return chance.choice(wraps)
    argument = chance.choice((shell(marker), python(marker), str(marker)))
    target = chance.choice(_CALLS)
    module, name = target.encode().split(b" ")
    forms = (
        call(target, argument),
        b"(" + text(argument) + b"i" + module + b"\n" + name + b"\n",
        b"(c" + module + b"\n" + name + b"\n" + text(argument) + b"o",
        b"c" + module + b"\n" + name + b"\n" + text(argument) + b"\x85\x81",
        text(module.decode()) + text(name.decode()) + b"\x93" + text(argument) + b"\x85R",
    )
    return chance.choice(forms)


def _attack(chance: random.Random, marker: Path) -> bytes:
    """Code to run, by any instruction, at any depth, in any container."""
    pickled = state(_reduced(chance, marker, chance.randrange(5)))
    if chance.random() < 0.3:
        pickled = pickled[:-2] + text("weight2") + tensor((2, 2), (2, 1)) + b"u."
    return chance.choice((zipped, legacy, bytes))(pickled)


def _soup(chance: random.Random, _: Path) -> bytes:
    """Random instructions, most of them known ones."""
    known = b"(]}).0123NKMJQRabdehjlqrstuX\x80\x85\x86\x87\x88\x89\x8a\x8c\x8f\x90\x93\x94"
    length = chance.randrange(1, 200)
    body = bytes(chance.choice(known) if chance.random() < 0.7 else chance.randrange(256) for _index in range(length))
    return chance.choice((zipped, legacy, bytes))(b"\x80\x02" + body + b".")


def _archive(chance: random.Random, _: Path) -> bytes:
    """Zip archives whose names lead elsewhere, which are bombs, or whose directory lies."""
    good = state(tensor((2, 2), (2, 1)))
    choice = chance.randrange(4)
    if choice == 0:
        evil = chance.choice(("../", "..\\", "/", "C:\\", "archive/../../", "a/./../../", "\\\\host\\")) + "evil"
        return zipped(good, {"archive/data/0": bytes(16), evil: b"x"})
    if choice == 1:
        return zipped(good, {"archive/data/0": bytes(chance.randrange(2**16, 2**22))}, zipfile.ZIP_DEFLATED)
    if choice == 2:
        names = ("constants.pkl", "code/__torch__.py", "code/__torch__.py.debug_pkl")
        return zipped(good, {"archive/data/0": bytes(16), "archive/" + chance.choice(names): b"\x80\x02)."})
    data = bytearray(zipped(good))
    directory = data.rfind(b"PK\x01\x02")
    at = chance.choice((directory + chance.randrange(8, 46), len(data) - chance.randrange(1, 22)))
    data[at] ^= 1 << chance.randrange(8)
    return bytes(data)


def _structure(chance: random.Random, _: Path) -> bytes:
    """Sound files whose tensors form no model, or another one than they seem to."""
    weights = dict(_weights())
    for _index in range(chance.choice((1, 2, 5))):
        key = chance.choice(list(weights))
        value = weights.pop(key)
        where = chance.choice(("gone", "renamed", "reshaped", "retyped", "far"))
        if where == "renamed":
            weights[key.replace(".", chance.choice(("..", "", "\x1b[2J", "/../", "\n")), 1)] = value
        elif where == "reshaped":
            weights[key] = value.new_zeros([chance.randrange(1, 70) for _side in range(chance.randrange(5))])
        elif where == "retyped":
            weights[key] = value.to(chance.choice((torch.int8, torch.int64, torch.float64, torch.bool)))
        elif where == "far":
            weights[f"body.{chance.choice((9, 10**6, 10**18))}.blocks.0.dw.weight"] = value
        if not weights:
            weights["x"] = torch.ones(1)
    return save(weights) if chance.random() < 0.5 else _saved(weights, new=chance.random() < 0.5)


def _hints(chance: random.Random, _: Path) -> bytes:
    """Values beside the weights that make no sense or would be expensive."""
    names = ("scale", "alpha", "window_size", "use_norm", "attention", "none_of_ours")
    values = (
        "0",
        "-1",
        "2147483647",
        "99999999999999999999",
        "nan",
        "1e308",
        "",
        "two",
        "true",
        "\x1b[31m",
        "9" * 5000,
    )
    if chance.random() < 0.5:
        return save(_weights(), {f"paragonsr.{chance.choice(names)}": chance.choice(values)})
    tensors = (
        torch.tensor(chance.choice((0, -1, 2**31 - 1)), dtype=torch.int32), torch.tensor(float("nan")),
        torch.zeros(0), torch.zeros(3, 3), torch.full((1000,), 65, dtype=torch.uint8), torch.tensor(True),
    )  # fmt: skip
    return save({**_weights(), f"paragonsr_hint.{chance.choice(names)}": chance.choice(tensors)})


def _no_torch_file(chance: random.Random, _: Path) -> bytes:
    """Pickles of protocols 0 to 5 that torch.save did not write, and noise behind every kind of beginning."""
    if chance.random() < 0.5:
        value = {"weight": [chance.random() for _index in range(9)], "name": {1, 2}}
        return pickle.dumps(value, chance.randrange(6))
    begin = chance.choice((b"PK\x03\x04", b"\x80\x02", b"\x80\x05", struct.pack("<Q", 64) + b"{", b"\x08\x08", b""))
    return begin + chance.randbytes(chance.randrange(1, 4096))


KINDS: dict[str, Maker] = {
    "absurd": _absurd,
    "archive": _archive,
    "attack": _attack,
    "bits": _bits,
    "cut": _cut,
    "header": _header,
    "hints": _hints,
    "noise": _no_torch_file,
    "not_finite": _not_finite,
    "soup": _soup,
    "spliced": _spliced,
    "structure": _structure,
}
ALWAYS_REFUSED = ("absurd", "archive", "attack", "header", "noise", "not_finite", "soup")
"""Kinds of which every file is wrong; one of the others may happen to be sound."""


def write_all(folder: Path, count: int, marker: Path) -> None:
    """Write ``count`` files, the kinds in turn."""
    for index in range(count):
        kind = list(KINDS)[index % len(KINDS)]
        chance = random.Random(f"{kind} {index}")
        suffix = chance.choice((".pth", ".safetensors", ".pt", ".ckpt"))
        (folder / f"{kind}_{index:05}{suffix}").write_bytes(KINDS[kind](chance, marker))
