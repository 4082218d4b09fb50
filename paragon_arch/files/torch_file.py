"""Files of ``torch.save``: the zip format (since torch 1.6) and the one before it.

Pickles go through `pickle_reader`, numbers are read straight from the file; ``torch.load`` is not used.
"""

from __future__ import annotations

import contextlib
import errno
import io
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterable, Mapping
from typing import IO, Any, Protocol, cast

import torch
from torch import Tensor

from ..errors import CorruptCheckpointError, UnsupportedFormatError
from .budget import Budget, shown
from .pickle_reader import MAX_PICKLE, Storage, StoredTensor, interpret, pickle_budget

_AGAIN = "download or save it again"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_DIRECTORY = 4 * 2**20
"""Largest zip directory in bytes; torch writes about 100 for each tensor."""
_MAX_PACKING = 4
"""Times by which a torch file that was packed again with compression may be smaller than its contents."""
_MODELS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".onnx")
_MAX_SHARING = 4
"""Weights may add up to this many times the file's size (tied weights share storages)."""


class TorchFile(Protocol):
    """An open file of ``torch.save``."""

    tree: Any
    """What was saved, as `pickle_reader.interpret` describes it."""

    def read_storage(self, storage: Storage) -> bytearray:
        """The bytes of a storage."""
        ...


def open_zip(stream: IO[bytes], size: int) -> TorchFile:
    """Open the zip format.

    Raises:
        UnsupportedFormatError: TorchScript, or a zip archive that torch.save did not write.
        CorruptCheckpointError: the archive is damaged, compressed, or its entries contradict each other.
        UnsafeCheckpointError: see `pickle_reader.interpret`.
    """
    return _ZipFile(stream, size)


def open_legacy(stream: IO[bytes], size: int) -> TorchFile:
    """Open the format of torch before 1.6; errors as in `open_zip`."""
    return _LegacyFile(stream, size)


def load_tensors(file: TorchFile, tensors: Mapping[str, StoredTensor], size: int) -> dict[str, Tensor]:
    """Read these tensors; those with a common storage share memory.

    Raises:
        CorruptCheckpointError: a storage is missing or damaged, or the tensors are far larger than the file.
    """
    if sum(tensor.nbytes for tensor in tensors.values()) > _MAX_SHARING * size:
        raise CorruptCheckpointError(f"its tensors would take over {_MAX_SHARING} times the file's size; {_AGAIN}")
    storages = {tensor.storage for tensor in tensors.values() if tensor.nbytes}
    flat = {storage: torch.frombuffer(file.read_storage(storage), dtype=storage.dtype) for storage in storages}
    return {
        key: flat[tensor.storage].as_strided(tensor.shape, tensor.stride, tensor.offset)
        if tensor.nbytes
        else torch.empty(tensor.shape, dtype=tensor.storage.dtype)
        for key, tensor in tensors.items()
    }


@contextlib.contextmanager
def _damaged_archive() -> Generator[None, None, None]:
    """Everything that `zipfile` may raise about a damaged archive, as one error."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise CorruptCheckpointError(f"its zip archive is damaged ({error}); {_AGAIN}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a seek to a nonsensical position
            raise
        raise CorruptCheckpointError(f"its zip archive has a wrong position; {_AGAIN}") from error
    except (RuntimeError, OverflowError, KeyError) as error:
        raise CorruptCheckpointError(f"its zip archive cannot be read ({error}); {_AGAIN}") from error


class _ZipFile:
    def __init__(self, stream: IO[bytes], size: int) -> None:
        _check_directory(stream, size)
        with _damaged_archive():
            self._archive = zipfile.ZipFile(stream)
        self._entries = _entries(self._archive, size)
        self._folder = _pickle_folder(self._entries)
        self._check_byte_order()
        pickle = self._entries[self._folder + "data.pkl"]
        if pickle.file_size > MAX_PICKLE:
            raise CorruptCheckpointError(f"its pickle has {pickle.file_size:,} bytes: no checkpoint needs so many")
        self.tree, _ = interpret(io.BytesIO(self._read(pickle)), pickle_budget(pickle.file_size))

    def _check_byte_order(self) -> None:
        entry = self._entries.get(self._folder + "byteorder")
        if entry and self._read(entry) != bytearray(b"little"):
            raise UnsupportedFormatError("it was saved on a big-endian machine: save it as safetensors there")

    def _read(self, entry: zipfile.ZipInfo) -> bytearray:
        data = bytearray(entry.file_size)
        with _damaged_archive(), self._archive.open(entry) as stream:
            count = cast("io.BufferedIOBase", stream).readinto(data)
            if count != len(data) or stream.read(1):  # reading on to the end checks the CRC
                raise CorruptCheckpointError(f"its entry {shown(entry.filename)} is cut off; {_AGAIN}")
        return data

    def read_storage(self, storage: Storage) -> bytearray:
        entry = self._entries.get(f"{self._folder}data/{storage.key}")
        if entry is None:
            raise CorruptCheckpointError(f"it lacks the storage {shown(storage.key)}; {_AGAIN}")
        if entry.file_size != storage.numel * storage.dtype.itemsize:
            raise CorruptCheckpointError(
                f"its storage {shown(storage.key)} has {entry.file_size:,} bytes, not the declared {storage.numel:,} "
                f"elements of {storage.dtype}; {_AGAIN}"
            )
        return self._read(entry)


def _check_directory(stream: IO[bytes], size: int) -> None:
    """Refuse a huge directory before `zipfile` makes an object for each entry."""
    tail_size = min(size, 2**16 + 128)
    stream.seek(size - tail_size)
    tail = stream.read(tail_size)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise CorruptCheckpointError(f"its zip archive has no directory: the file is cut off; {_AGAIN}")
    length, start = struct.unpack_from("<LL", tail, at + 12)
    end = size - len(tail) + at
    if at >= 20 and tail.startswith(b"PK\x06\x07", at - 20):
        length, start, end = _zip64(tail, at, end)
    if length > _MAX_DIRECTORY:
        raise CorruptCheckpointError(f"its zip directory has {length:,} bytes: no checkpoint needs so many")
    if start + length != end or at + 22 != len(tail):
        raise CorruptCheckpointError(f"its zip archive's directory is not where torch.save writes it; {_AGAIN}")


def _zip64(tail: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Length, start and end of the directory, of the record that the locator before the end record names.

    Readers look for it in different places; here all of them are the same one.
    """
    (place,) = struct.unpack_from("<Q", tail, at - 12)
    record = at - 20 - 56
    if record < 0 or not tail.startswith(b"PK\x06\x06", record) or place != end - 20 - 56:
        raise CorruptCheckpointError(f"its zip archive's directory is not where torch.save writes it; {_AGAIN}")
    length, start = struct.unpack_from("<QQ", tail, record + 40)
    return length, start, place


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Entries by name, after all checks that need no reading."""
    if any(name.rpartition("/")[2] == "constants.pkl" or "/code/" in name for name in archive.namelist()):
        raise UnsupportedFormatError("this is a TorchScript archive: use the checkpoint that it was made from")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename
        if name in entries:
            raise CorruptCheckpointError(f"its zip archive has two entries called {shown(name)}; {_AGAIN}")
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            raise CorruptCheckpointError(f"its zip archive has an entry with the unsafe name {shown(name)}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
            raise CorruptCheckpointError(
                f"its zip entry {shown(name)} is encrypted, or packed by a method that no torch reads: unpack it"
            )
        if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
            raise CorruptCheckpointError(f"its zip entry {shown(name)} has two sizes; {_AGAIN}")
        entries[name] = entry
    _check_sizes(entries.values(), size)
    return entries


def _check_sizes(entries: Iterable[zipfile.ZipInfo], size: int) -> None:
    """Refuse more data than the file can hold, and archives that were packed again far too small for weights."""
    total = sum(entry.file_size for entry in entries)
    if sum(entry.compress_size for entry in entries) > size:
        raise CorruptCheckpointError("its zip archive declares more data than the file holds")
    if total > _MAX_PACKING * size:
        raise CorruptCheckpointError(
            f"its zip archive is compressed to a {total // size}th of its size, which no weights are; {_AGAIN}"
        )


def _pickle_folder(entries: Mapping[str, zipfile.ZipInfo]) -> str:
    """Common folder of the entries of a torch file, with its slash."""
    found = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
    if not found:
        inside = sorted(name for name in entries if name.lower().endswith(_MODELS)) or sorted(entries)
        raise UnsupportedFormatError(
            "a zip archive, but not one of torch.save"
            + (f", with {inside[0]} in it: unpack it and use that file" if inside else ": it is empty")
        )
    if len(found) > 1:
        raise CorruptCheckpointError(f"its zip archive has {len(found)} data.pkl instead of one; {_AGAIN}")
    return found[0].removesuffix("data.pkl")


class _LegacyFile:
    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        stream.seek(0)
        data = stream.read(MAX_PICKLE)
        head, budget = io.BytesIO(data), pickle_budget(len(data))
        _check_legacy_head(head, budget)
        self.tree, storages = interpret(head, budget)
        keys, _ = interpret(head, budget)
        self._places = self._locate(head.tell(), keys, storages, size)

    def _locate(self, position: int, keys: Any, storages: Mapping[str, Storage], size: int) -> dict[str, int]:
        """Position of each storage's numbers; the file holds, for each key, an 8-byte count and the numbers."""
        if not isinstance(keys, list):
            raise CorruptCheckpointError(f"its list of storages is damaged; {_AGAIN}")
        places: dict[str, int] = {}
        for key in cast("list[Any]", keys):
            storage = storages.get(key) if isinstance(key, str) else None
            self._stream.seek(position)
            count = self._stream.read(8)
            if storage is None or count != struct.pack("<q", storage.numel):
                raise CorruptCheckpointError(f"its storage {shown(key)} is damaged or cut off; {_AGAIN}")
            places[storage.key] = position + 8
            position += 8 + storage.numel * storage.dtype.itemsize
        if position != size:
            raise CorruptCheckpointError(f"it should have {position:,} bytes but has {size:,}; {_AGAIN}")
        return places

    def read_storage(self, storage: Storage) -> bytearray:
        if storage.key not in self._places:
            raise CorruptCheckpointError(f"it lacks the storage {shown(storage.key)}; {_AGAIN}")
        self._stream.seek(self._places[storage.key])
        return bytearray(self._stream.read(storage.numel * storage.dtype.itemsize))


def _check_legacy_head(head: IO[bytes], budget: Budget) -> None:
    magic, _ = interpret(head, budget)
    if type(magic) is not int or magic != _LEGACY_MAGIC:
        raise UnsupportedFormatError("a pickle, but not one of torch.save: save it with torch.save or as safetensors")
    protocol, _ = interpret(head, budget)
    system, _ = interpret(head, budget)
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
        raise CorruptCheckpointError(f"its torch header is damaged; {_AGAIN}")
    if cast("dict[Any, Any]", system).get("little_endian") is not True:
        raise UnsupportedFormatError("it was saved on a big-endian machine: save it as safetensors there")
