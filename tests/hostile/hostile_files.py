"""Checkpoints that are broken below the pickle: archives, safetensors, and files of other kinds."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image
from safetensors.torch import save

from paragon_arch.errors import CorruptCheckpointError, InvalidWeightsError, UnsupportedFormatError
from tests.hostile.hostile_pickles import Case, state, tensor, zipped

_F32 = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
_GOOD = state(tensor((2, 2), (2, 1)))


def safetensors(header: Any, data: bytes = bytes(16), length: int | None = None) -> bytes:
    """A safetensors file with any header, which may lie about its length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(**changes: Any) -> bytes:
    """A safetensors file with one tensor, whose entry has these changes."""
    return safetensors({"weight": {**_F32, **changes}})


def _two(first: list[int], second: list[int]) -> bytes:
    vector = {"dtype": "F32", "shape": [2]}
    return safetensors({"a": {**vector, "data_offsets": first}, "b": {**vector, "data_offsets": second}})


def _bomb(_: Path) -> bytes:
    """64 MiB in about 64 KiB."""
    return zipped(_GOOD, {"archive/data/0": bytes(64 * 2**20)}, zipfile.ZIP_DEFLATED)


def _oversized(_: Path) -> bytes:
    """The directory declares 1 GiB for a stored entry."""
    data = bytearray(zipped(_GOOD))
    at = data.rfind(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<LL", 2**30, 2**30)
    return bytes(data)


def _directory_size(size: int) -> bytes:
    data = bytearray(zipped(_GOOD))
    data[-10:-6] = struct.pack("<L", size)
    return bytes(data)


def _encrypted(_: Path) -> bytes:
    data = bytearray(zipped(_GOOD))
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _bad_crc(_: Path) -> bytes:
    data = bytearray(zipped(_GOOD))
    data[data.index(b"archive/data/0") + len("archive/data/0")] ^= 0x40
    return bytes(data)


def _two_pickles(_: Path) -> bytes:
    return zipped(_GOOD, {"other/data.pkl": _GOOD, "archive/data/0": bytes(16)})


def _same_name_twice(_: Path) -> bytes:
    data = zipped(_GOOD, {"archive/data/0": bytes(16), "archive/data/1": bytes(16)})
    return data.replace(b"archive/data/1", b"archive/data/0")


def _torchscript(marker: Path) -> bytes:
    path = marker.with_suffix(".script")
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2)), path)
    return path.read_bytes()


def _onnx(_: Path) -> bytes:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["x2"])], "g", [value], [])
    return onnx.helper.make_model(graph, producer_name="test").SerializeToString()


def _image(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, kind)
    return buffer.getvalue()


def _tar(_: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"))
    return buffer.getvalue()


def _npz(_: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.ones(3))
    return buffer.getvalue()


def _pointer(_: Path) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"


_CORRUPT = CorruptCheckpointError
_FOREIGN = UnsupportedFormatError

FILES: tuple[Case, ...] = (
    # Zip archives.
    Case("zip_bomb.pth", _bomb, _CORRUPT, "compressed"),
    Case("zip_oversized.pth", _oversized, _CORRUPT, "more data"),
    Case("zip_huge_directory.pth", lambda _: _directory_size(2**30), _CORRUPT, "directory has"),
    Case("zip_wrong_directory.pth", lambda _: _directory_size(2**20), _CORRUPT, "zip archive"),
    Case("zip_encrypted.pth", _encrypted, _CORRUPT, "encrypted"),
    Case("zip_bad_crc.pth", _bad_crc, _CORRUPT, "CRC"),
    Case("zip_cut.pth", lambda _: zipped(_GOOD)[:-30], _CORRUPT, "cut off"),
    Case("zip_empty.pth", lambda _: b"PK\x05\x06" + bytes(18), _CORRUPT, "empty zip"),
    Case("zip_two_pickles.pth", _two_pickles, _CORRUPT, "data.pkl"),
    Case("zip_same_name_twice.pth", _same_name_twice, _CORRUPT, "two entries"),
    Case("zip_slip.pth", lambda _: zipped(_GOOD, {"archive/../../evil": b"x"}), _CORRUPT, "unsafe name"),
    Case("zip_absolute.pth", lambda _: zipped(_GOOD, {"/etc/evil": b"x"}), _CORRUPT, "unsafe name"),
    Case("zip_drive.pth", lambda _: zipped(_GOOD, {"C:\\evil": b"x"}), _CORRUPT, "unsafe name"),
    Case("big_endian.pth", lambda _: zipped(_GOOD, {"archive/byteorder": b"big"}), _FOREIGN, "big-endian"),
    Case("torchscript.pt", _torchscript, _FOREIGN, "TorchScript"),
    Case("numpy.npz", _npz, _FOREIGN, "not one of torch.save"),
    # safetensors.
    Case("cut_in_length.safetensors", lambda _: b"\x10\0\0", _CORRUPT, "first 8 bytes"),
    Case("cut_in_header.safetensors", lambda _: entry()[:30], _CORRUPT, "cut off"),
    Case("cut_in_data.safetensors", lambda _: entry()[:-3], _CORRUPT, "follow the header"),
    Case("data_too_long.safetensors", lambda _: entry() + b"x", _CORRUPT, "follow the header"),
    Case("header_length_huge.safetensors", lambda _: safetensors({}, length=2**63), _CORRUPT, "header claims"),
    Case("header_length_small.safetensors", lambda _: safetensors({"weight": _F32}, length=9), _CORRUPT, "JSON"),
    Case("header_over_limit.safetensors", lambda _: safetensors(b"{" + b" " * (17 * 2**20)), _CORRUPT, "limit"),
    Case("header_deep.safetensors", lambda _: safetensors(b'{"a":' * 100_000), _CORRUPT, "JSON"),
    Case("header_list.safetensors", lambda _: safetensors(b"[1]     "), _CORRUPT, "not a JSON object"),
    Case("header_not_utf8.safetensors", lambda _: safetensors(b'{"\xff": 1}'), _CORRUPT, "JSON"),
    Case("duplicate_key.safetensors", lambda _: safetensors(b'{"a":1,"a":2}'), _CORRUPT, "duplicate"),
    Case("entry_missing_shape.safetensors", lambda _: safetensors({"w": {"dtype": "F32"}}), _CORRUPT, "wrongly"),
    Case("unknown_dtype.safetensors", lambda _: entry(dtype="F33"), _CORRUPT, "F33"),
    Case("dtype_is_list.safetensors", lambda _: entry(dtype=[1]), _CORRUPT, "dtype"),
    Case("float8.safetensors", lambda _: entry(dtype="F8_E4M3", shape=[16]), _FOREIGN, "F8_E4M3"),
    Case("wrong_dtype.safetensors", lambda _: entry(dtype="F16"), _CORRUPT, "needs 8 bytes"),
    Case("wrong_shape.safetensors", lambda _: entry(shape=[3, 2]), _CORRUPT, "needs 24 bytes"),
    Case("huge_shape.safetensors", lambda _: entry(shape=[2**40, 2**40]), _CORRUPT, "no memory holds"),
    Case("negative_shape.safetensors", lambda _: entry(shape=[-2, -2]), _CORRUPT, "wrong shape"),
    Case("fractional_shape.safetensors", lambda _: entry(shape=[2.0, 2]), _CORRUPT, "wrong shape"),
    Case("boolean_shape.safetensors", lambda _: entry(shape=[True, 4]), _CORRUPT, "wrong shape"),
    Case(
        "empty_tensor.safetensors",
        lambda _: safetensors({"w": {**_F32, "shape": [0], "data_offsets": [0, 0]}}, b""),
        _CORRUPT,
        "shape",
    ),
    Case("offsets_swapped.safetensors", lambda _: entry(data_offsets=[16, 0]), _CORRUPT, "offsets"),
    Case("overlap.safetensors", lambda _: _two([0, 8], [4, 12]), _CORRUPT, "overlaps"),
    Case("gap.safetensors", lambda _: _two([0, 8], [12, 20]), _CORRUPT, "gap"),
    Case("metadata_number.safetensors", lambda _: safetensors({"__metadata__": {"a": 1}}, b""), _CORRUPT, "metadata"),
    Case("no_tensors.safetensors", lambda _: safetensors({}, b""), _CORRUPT, "no weights"),
    Case("bad_hint.safetensors", lambda _: save({"w": torch.ones(1)}, {"paragonsr.scale": "two"}), _CORRUPT, "scale"),
    Case("nan.safetensors", lambda _: save({"w": torch.tensor([0, float("nan")])}), InvalidWeightsError, "'w'"),
    Case(
        "inf_bf16.safetensors",
        lambda _: save({"w": torch.tensor([float("inf")]).bfloat16()}),
        InvalidWeightsError,
        "'w'",
    ),
    Case("text.safetensors", lambda _: b"just some text that is no header", _CORRUPT, "header claims"),
    # Files of other kinds.
    Case("empty.pth", lambda _: b"", _CORRUPT, "empty"),
    Case("empty.safetensors", lambda _: b"", _CORRUPT, "empty"),
    Case("model.onnx", _onnx, _FOREIGN, "ONNX"),
    Case("onnx_renamed.pth", _onnx, _FOREIGN, "ONNX"),
    Case("png.pth", lambda _: _image("PNG"), _FOREIGN, "PNG"),
    Case("jpeg.safetensors", lambda _: _image("JPEG"), _FOREIGN, "JPEG"),
    Case("webp.pth", lambda _: _image("WEBP"), _FOREIGN, "WebP"),
    Case("web_page.pth", lambda _: b"\n<!DOCTYPE html><html>404</html>", _FOREIGN, "HTML"),
    Case("error.safetensors", lambda _: b'{"error": "not found"}', _FOREIGN, "JSON"),
    Case("lfs_pointer.safetensors", _pointer, _FOREIGN, "Git LFS"),
    Case("archive.pth", _tar, _FOREIGN, "tar"),
    Case("model.pth.gz", lambda _: gzip.compress(_GOOD), _FOREIGN, "gzip"),
    Case("noise.pth", lambda _: bytes(range(200, 256)) * 20, _FOREIGN, "no known checkpoint format"),
    Case("zeros.pth", lambda _: bytes(1000), _FOREIGN, "no known checkpoint format"),
)
