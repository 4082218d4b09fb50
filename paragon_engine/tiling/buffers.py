"""Where feature maps live between the stages: on the device, in host memory, or in a memory-mapped file."""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from paragon_arch.networks.stages import Span

from ..progress import log
from .available import free_memory
from .memory import is_out_of_memory


class Buffer:
    """A map ``(1, C, H, W)`` that is read and written in pieces."""

    def __init__(self, data: Tensor, kind: str = "device", path: Path | None = None) -> None:
        self.data, self.kind, self.path = data, kind, path

    @property
    def _format(self) -> torch.memory_format:
        return torch.channels_last if self.data.stride(1) == 1 else torch.contiguous_format

    def crop(self, top: int, bottom: int, left: int, right: int, like: Tensor) -> Tensor:
        """A rectangle on the device and in the type of ``like``; a view where it already is there."""
        return self.data[..., top:bottom, left:right].to(like.device, like.dtype)

    def read(self, rows: Span, columns: Span, like: Tensor) -> Tensor:
        """The crop of a region of a frame; zeros where the frame is padding."""
        pieces = list(_pieces(rows, columns, own=False))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if len(pieces) == 1 and pieces[0][2:] == (height, width):
            _, (y, x), _, _ = pieces[0]
            return self.crop(y, y + height, x, x + width, like)
        shape = (1, self.data.shape[1], height, width)
        crop = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=self._format).zero_()
        for (top, left), (y, x), h, w in pieces:
            crop[..., top : top + h, left : left + w] = self.data[..., y : y + h, x : x + w]
        return crop

    def write(self, rows: Span, columns: Span, result: Tensor) -> None:
        """Take in the result of a tile, without halo; what belongs to the frame's padding is left out."""
        for (top, left), (y, x), h, w in _pieces(rows, columns, own=True):
            self.data[..., y : y + h, x : x + w] = result[..., top : top + h, left : left + w]


def _pieces(rows: Span, columns: Span, *, own: bool) -> Iterable[tuple[tuple[int, int], tuple[int, int], int, int]]:
    """(place in the tile, place in the map, height, width) of each rectangle that is contiguous in both."""
    ends = [(axis.first, axis.last) if own else (axis.start, axis.stop) for axis in (rows, columns)]
    for top, y, height in rows.segments(*ends[0]):
        for left, x, width in columns.segments(*ends[1]):
            yield (top, left), (y, x), height, width


@dataclass
class Limits:
    """Bytes of maps that may lie in each kind of memory."""

    device: float = math.inf
    host: float = math.inf


class Store:
    """Makes buffers, in the fastest memory that has room for them.

    Args:
        device: where the stages work.
        dtype: of the maps.
        limits: what may be used of each kind of memory.
        folder: of the files; None for the system's folder of temporary files.
        channels_last: maps lie pixel by pixel.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        limits: Limits,
        folder: Path | None = None,
        *,
        channels_last: bool = False,
    ) -> None:
        self._device, self._dtype, self._limits, self._folder = device, dtype, limits, folder
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._used = {"device": 0, "host": 0}
        self.files = 0
        """Maps that had to go into files so far."""
        self.peak = 0
        """Most bytes of maps in memory at any time."""

    @property
    def used(self) -> int:
        """Bytes of maps in memory now."""
        return sum(self._used.values())

    def new(self, channels: int, height: int, width: int) -> Buffer:
        """An uninitialised buffer.

        Raises:
            MemoryError: there is no room in any memory, nor on the disk.
        """
        shape = (1, channels, height, width)
        size = math.prod(shape) * self._dtype.itemsize
        for kind, limit in (("device", self._limits.device), ("host", self._limits.host)):
            if self._used[kind] + size <= limit and (data := self._allocate(kind, shape)) is not None:
                self._used[kind] += size
                self.peak = max(self.peak, self.used)
                return Buffer(data, kind)
        return self._file(shape, size)

    def release(self, buffer: Buffer) -> None:
        """Give a buffer back."""
        if buffer.kind in self._used:
            self._used[buffer.kind] -= buffer.data.nbytes
        buffer.data = torch.empty(0)
        if buffer.path is not None:
            buffer.path.unlink(missing_ok=True)

    def _allocate(self, kind: str, shape: tuple[int, ...]) -> Tensor | None:
        try:
            if kind == "device":
                return torch.empty(shape, dtype=self._dtype, device=self._device, memory_format=self._format)
            return torch.empty(shape, dtype=self._dtype, memory_format=self._format)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _file(self, shape: tuple[int, ...], size: int) -> Buffer:
        """A map in a temporary file that disappears with it."""
        self.files += 1
        if self.files == 1:
            log.info("feature maps do not fit into memory: using temporary files")
        folder = Path(self._folder or tempfile.gettempdir())
        path: Path | None = None
        try:
            path = reserve_file(folder, size)
            flat = torch.from_file(str(path), shared=True, size=math.prod(shape), dtype=self._dtype)
        except (OSError, RuntimeError) as error:
            if path is not None:
                path.unlink(missing_ok=True)
            raise MemoryError(
                f"no room for a map of {size / 2**30:.2f} GiB in memory, nor in {folder}: {error}; "
                "free some of either, or point TMPDIR at a folder on a larger disk"
            ) from error
        if os.name == "posix":  # gone as soon as nobody maps it any more, even if the program is killed
            path.unlink()
        return Buffer(self._shaped(flat, shape), "file", None if os.name == "posix" else path)

    def _shaped(self, flat: Tensor, shape: tuple[int, ...]) -> Tensor:
        _, channels, height, width = shape
        if self._format == torch.contiguous_format:
            return flat.view(shape)
        return flat.view(1, height, width, channels).permute(0, 3, 1, 2)


def reserve_file(folder: Path, size: int) -> Path:
    """A new file of ``size`` bytes that the disk has really set aside: writing to it later cannot fail.

    Raises:
        OSError: the disk is full, or cannot be written; nothing is left behind.
    """
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    handle, name = tempfile.mkstemp(prefix="paragonsr-", dir=folder)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        else:
            os.truncate(handle, size)
    except OSError:
        Path(name).unlink()
        raise
    finally:
        os.close(handle)
    return Path(name)


def limits_for(device: torch.device, reserve: float, limit: int | None = None) -> Limits:
    """Limits that leave ``reserve`` bytes of the device's free memory, or of ``limit`` bytes of it, to the tiles."""
    free = free_memory(device)
    room = max(0.0, (free if limit is None else min(free, limit)) - reserve)
    if device.type == "cpu":
        return Limits(device=room, host=0)
    return Limits(device=room, host=0.8 * free_memory(torch.device("cpu")))
