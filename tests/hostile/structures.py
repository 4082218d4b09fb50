"""Hostile structure: files whose bytes are sound one by one, and whose references, names and numbers are not.

As in `generated`, each file follows from its kind and number alone. What is tried: containers in themselves and in each
other, one object used thousands of times, keys that have one hash, duplicated names, and 0, 1, a large and a huge
number in every key and every field that holds one.
"""

from __future__ import annotations

import functools
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from paragon_arch.networks.v1 import ParagonSR
from paragon_arch.networks.v2_magic import ParagonSR2Magic
from paragon_arch.networks.v2_static import ParagonSR2Static
from tests.engine_models import state as model_state
from tests.hostile.hostile_files import safetensors
from tests.hostile.hostile_pickles import legacy, number, storage, tensor, text, zipped

NUMBERS = (0, 1, 7, 255, 4096, 10**6, 2**31 - 1, 2**31, 2**40, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64, 10**30, -1)
"""Nothing, one, large and huge ones."""
WRAPPERS = ("params_ema", "params-ema", "net_g_ema", "params", "state_dict", "model", "net", "net_g", "generator")
LOTS = 3000


def _large(chance: random.Random) -> str:
    """A number as text, of up to thousands of digits."""
    return chance.choice((*map(str, NUMBERS), "9" * 4301, "1" + "0" * 5000, "00", "\u0663", "1e9", "0x10"))


@functools.cache
def _states() -> tuple[dict[str, torch.Tensor], ...]:
    """Of every family of keys that holds numbers: body, head, tail."""
    sizes: dict[str, Any] = {"num_feat": 8, "num_groups": 1, "num_blocks": 1, "hidden": 12, "branch": 1}
    networks = (
        ParagonSR(scale=2, **sizes, tail="magic"),
        ParagonSR2Magic(scale=2, **sizes, transformer="tracked", tail="magic-hr", hr_blocks=1),
        ParagonSR2Static(scale=2, **sizes, hr_blocks=1),
    )
    return (model_state(), *(dict(network.state_dict()) for network in networks))


def _renumbered(chance: random.Random) -> bytes:
    """A number in a key, or more of them, is another one; sometimes all keys of that kind."""
    weights = dict(chance.choice(_states()))
    numbered = [key for key in weights if re.search(r"\d", key)]
    for key in chance.sample(numbered, chance.choice((1, 1, 2, 8)) if len(numbered) >= 8 else 1):
        place = chance.choice(list(re.finditer(r"\d+", key)))
        new = key[: place.start()] + _large(chance) + key[place.end() :]
        weights[new] = weights[key].clone() if chance.random() < 0.5 else weights.pop(key)
    return save(weights)


def _added(chance: random.Random) -> bytes:
    """A key beside the sound ones, with a number where layouts look for one."""
    weights = dict(chance.choice(_states()))
    shape = chance.choice(((1,), (8, 8, 3, 3), (1, 1, 1, 1)))
    form = chance.choice(("hr_head.{}.conv1.weight", "body.{}.blocks.0.x", "body.0.blocks.{}.x", "body.0.layers.{}.x",
                          "detail_upsampler.stages.{}.up_conv.weight", "upsampler.{}.weight",
                          "down_blocks.{}.0.parametrizations.weight.original"))  # fmt: skip
    weights[form.format(_large(chance))] = torch.zeros(shape)
    return save(weights)


def _reshaped(chance: random.Random) -> bytes:
    """Sizes in the header, with as many bytes as they claim, or none."""
    weights = chance.choice(_states())
    header: dict[str, Any] = {}
    end = 0
    odd = chance.sample(list(weights), min(len(weights), chance.choice((1, 2, 4))))
    for key, value in weights.items():
        shape, kind = list(value.shape), "F32"
        if key in odd:
            shape = [*shape, 1][: chance.randrange(6)] or [1]
            shape[chance.randrange(len(shape))] = chance.choice((0, 1, 2, 3, 5, 64, 65, 1000, *NUMBERS))
            shape += [0] * (chance.random() < 0.3)
            kind = chance.choice(("F32", "U8", "BOOL"))
        count = functools.reduce(lambda a, b: a * b, shape, 1)
        taken = (4 if kind == "F32" else 1) * count if 0 <= count < 2**18 else 0
        header[key] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + taken]}
        end += taken
    return safetensors(header, bytes(end))


def _entries(chance: random.Random) -> bytes:
    """Numbers in every field of an entry, fields and names of thousands."""
    field: Any = chance.choice(NUMBERS)
    names = [f"{chance.choice(('a', 'body.', 'x' * 200))}{index}" for index in range(chance.choice((1, 9, LOTS)))]
    entry = {"dtype": "F32", "shape": [chance.choice((0, 1, field))], "data_offsets": [0, chance.choice((0, 4, field))]}
    lists: list[Any] = [[field], [field] * 17, [[]] * LOTS, [0, 0] * LOTS, {"a": field}, [[[[[]]]]]]
    if chance.random() < 0.5:
        entry[chance.choice(("shape", "data_offsets", "dtype"))] = chance.choice(lists)
    header = dict.fromkeys(names, entry)
    if chance.random() < 0.3:
        header["__metadata__"] = {"paragonsr." + chance.choice(("scale", "alpha", "window_size")): _large(chance)}
    return safetensors(header, bytes(4))


def _twice(chance: random.Random) -> bytes:
    """Thousands of names, of which some are there again."""
    names = [f"{index:05}" for index in range(chance.choice((2, LOTS)))]
    names += chance.choice(([names[0]], [names[-1]], names, ["__metadata__"] * 2, ["", ""]))
    parts = (f'"{name}": {{"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}' for name in names)
    return safetensors(("{" + ", ".join(parts) + "}").encode(), b"")


def _hinted(chance: random.Random) -> bytes:
    """Values beside sound weights: any number for any hint, as text and as tensor."""
    name, value = chance.choice(("scale", "alpha", "window_size", "use_norm", "attention")), chance.choice(NUMBERS)
    weights = dict(chance.choice(_states()))
    if chance.random() < 0.5:
        return save(weights, {f"paragonsr.{name}": _large(chance)})
    weights[f"paragonsr_hint.{name}"] = torch.tensor(value if abs(value) < 2**63 else 0.5)
    return save(weights)


# --- pickles -----------------------------------------------------------------------------------------------------


def _container(chance: random.Random, pickled: bytes) -> bytes:
    return chance.choice((zipped, legacy))(b"\x80\x02" + pickled + b".")


def _put(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def _get(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


def _in_itself(chance: random.Random) -> bytes:
    """A dictionary that is its own entry, under many of the names that wrappers have."""
    names = chance.sample(WRAPPERS, chance.randrange(1, len(WRAPPERS)))
    pad = b"".join(text(f"k{index}") + b"N" for index in range(chance.choice((0, LOTS))))
    inner = b"".join(text(name) + _get(0) for name in names)
    return _container(chance, b"}" + _put(0) + b"(" + pad + inner + b"u")


def _in_each_other(chance: random.Random) -> bytes:
    """A ladder: each dictionary or list holds the one before it several times."""
    steps, times = chance.choice(((4, 9), (30, 2), (200, 9))), 0
    body = b"}" + _put(0) + b"0"
    kind = chance.choice((b"}", b"]", b")"))
    for step in range(1, steps[0]):
        below = _get(step - 1)
        if kind == b"}":
            names = WRAPPERS[: steps[1]]
            body += b"}(" + b"".join(text(name) + below for name in names) + b"u" + _put(step) + b"0"
        else:
            body += b"(" + below * steps[1] + (b"l" if kind == b"]" else b"t") + _put(step) + b"0"
        times += 1
    last = _get(times)
    if chance.random() < 0.5:
        last = b"}(" + text("weight") + tensor((2, 2), (2, 1)) + text(chance.choice(WRAPPERS)) + last + last + b"Nu"
    return _container(chance, body + last)


def _used_again(chance: random.Random) -> bytes:
    """One list of thousands, given to thousands of calls."""
    pair = b"(" + text("k") + b"Nt" + _put(1) + b"0"
    items = b"(" + _get(1) * LOTS + b"l" + _put(2) + b"0"
    call = chance.choice((b"collections\nOrderedDict\n", b"collections\nCounter\n", b"torch\nSize\n",
                          b"collections\ndefaultdict\n", b"torch._utils\n_rebuild_parameter\n"))  # fmt: skip
    once = b"c" + call + _get(2) + b"\x85R0"
    return _container(chance, pair + items + once * LOTS + b"}")


def _one_hash(chance: random.Random) -> bytes:
    """Keys that are different numbers with one hash."""
    step = chance.choice((2**61 - 1, 2**64, 2**32))
    keys = (b"\x8a\x0a" + (index * step + 3).to_bytes(10, "little") for index in range(20_000))
    return _container(chance, b"}(" + b"".join(key + b"N" for key in keys) + b"u")


def _odd_key(chance: random.Random) -> bytes:
    """A key that is no text, among the weights or around them."""
    size = chance.choice((1, 8, 255))
    key = chance.choice((
        b"\x8a" + bytes([size]) + b"\x7f" * size, b"\x8b" + struct.pack("<i", 30_000) + b"\x11" * 30_000, b"N", b"\x88",
        b"G" + struct.pack(">d", chance.choice((0.5, float("nan"), float("inf")))), b"C\x03abc",
        text("x" * 200_000), b")", text("\x1b[2J\n"),
    ))  # fmt: skip
    body = b"}(" + key + tensor((2, 2), (2, 1)) + b"u"
    return _container(chance, body if chance.random() < 0.5 else b"}(" + text("params") + body + b"u")


def _measures(chance: random.Random) -> bytes:
    """Any number as shape, stride, offset or size of a storage."""

    def some(usual: int) -> int:
        found = chance.choice(NUMBERS) if chance.random() < 0.4 else usual
        return found if -(2**31) < found < 2**63 else usual

    axes = chance.choice((0, 1, 2, 2, 3, 15, 16, 17))
    shape = tuple(some(1 if axes > 3 else 2) for _ in range(axes))
    stride = tuple(some(1) for _ in range(axes if chance.random() < 0.9 else axes + 1))
    one = tensor(shape, stride, some(0), storage(numel=some(4)))
    body = b"}(" + b"".join(text(f"w{index}") + one for index in range(chance.choice((1, 1, 300)))) + b"u"
    return _container(chance, body)


def _memo(chance: random.Random) -> bytes:
    """The memo: indices of any size, and an end that is not there."""
    index = chance.choice([value for value in NUMBERS if 0 <= value < 2**32])
    some = chance.choice((_get(index), _put(index), b"0", b"2" * LOTS, b"(" * LOTS, b"(" * LOTS + b"t" * LOTS,
                          number(index) + b"Q", b"]" * LOTS + b"a" * (LOTS - 1)))  # fmt: skip
    return _container(chance, b"}" + _put(index) + some + chance.choice((b"", b"0", b"}")))


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "added": _added,
    "entries": _entries,
    "hinted": _hinted,
    "in_each_other": _in_each_other,
    "in_itself": _in_itself,
    "measures": _measures,
    "memo": _memo,
    "odd_key": _odd_key,
    "one_hash": _one_hash,
    "renumbered": _renumbered,
    "reshaped": _reshaped,
    "twice": _twice,
    "used_again": _used_again,
}
ALWAYS_REFUSED = ("in_each_other", "in_itself", "measures", "memo", "odd_key", "one_hash", "twice", "used_again")
"""Kinds of which every file is wrong; one of the others may happen to be sound."""


def write_all(folder: Path, count: int) -> None:
    """Write ``count`` files, the kinds in turn."""
    for index in range(count):
        kind = list(KINDS)[index % len(KINDS)]
        data = KINDS[kind](random.Random(f"{kind} {index}"))
        (folder / f"{kind}_{index:05}{'.safetensors' if data[8:9] == b'{' else '.pth'}").write_bytes(data)
