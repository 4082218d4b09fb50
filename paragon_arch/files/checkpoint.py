"""Reading and writing checkpoint files. No code of a file is ever run, whatever the file says.

What a file is, is decided by its first bytes (`sniff`), not by its name. The formats are read by
`safetensors_file` and `torch_file`, the weights found by `containers`, and stored hints decoded by `hints`.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from ..errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    InvalidOptionError,
    InvalidWeightsError,
    UnsafeCheckpointError,
    UnsupportedFormatError,
)
from . import safetensors_file, torch_file
from .atomic import atomic_path
from .budget import MAX_ELEMENTS, shown
from .containers import select
from .hints import (
    EXTRA_PREFIXES,
    HINT_NAMES,
    METADATA_PREFIX,
    QUANTIZATION_PREFIX,
    check_hints,
    read_hints,
    to_metadata,
    to_tensors,
)
from .pickle_reader import MAX_PICKLE, Opaque, StoredTensor, UnreadableTensor, interpret, pickle_budget
from .sniff import HEAD_SIZE, sniff

__all__ = ["HINT_NAMES", "Checkpoint", "read_checkpoint", "unwrap", "write_checkpoint"]

_MAX_FILE = 2 * 2**30
_PART = 2**20
_PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    state: dict[str, Tensor]
    """Weights and buffers under canonical keys, on the CPU in their stored dtype; no hint tensors.
    Tensors may share memory with each other (tied weights) or with the mapping that was read."""
    hints: dict[str, Any]
    """Stored values of `HINT_NAMES`: int, float, bool or str."""
    hint_sources: dict[str, str]
    """Where each hint was found: "metadata" or "hint tensor"."""
    metadata: dict[str, str]
    """Metadata of a safetensors file as stored; {} otherwise."""
    path: Path | None
    """The file, or None for a mapping."""
    format: str
    """"safetensors", "pth" or "state dict"."""
    wrapper: str
    """What was unwrapped, dotted: "params_ema", "state_dict.net_g"; "" if the weights were bare."""
    quantization: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """What quantisation-aware training stored, without ``paragonsr_quant.``."""


Look = Callable[[dict[str, Tensor]], None]
"""What may refuse weights by their names and shapes; they are on the meta device, without data."""


def read_checkpoint(
    source: str | os.PathLike[str] | Mapping[str, Any], *, check_finite: bool = True, first: Look = lambda _: None
) -> Checkpoint:
    """Read a file of any supported format, or a mapping that was loaded by others.

    Args:
        source: path of a safetensors file or of one that torch.save wrote, or a (wrapped) state dict.
        check_finite: refuse NaN and Inf.
        first: is shown the weights of a file, hint tensors left out, before their data is read.

    Raises:
        CheckpointNotFoundError: no such file, or it is a directory.
        UnsupportedFormatError: something else than a checkpoint, a TorchScript archive for instance; or its
            weights are sparse, quantised, without data, or of an unusual dtype.
        CorruptCheckpointError: damaged, empty, without weights, or two keys collide.
        UnsafeCheckpointError: unpickling would need more than tensors.
        InvalidWeightsError: NaN or Inf in a weight.
        CheckpointError: the system refuses to read it.
    """
    if isinstance(source, Mapping):
        weights, wrapper = select(source, _is_tensor)
        return _checkpoint(weights, wrapper, {}, None, "state dict", check_finite)
    path = Path(source)
    with _named(path), _opened(path) as (stream, size):
        weights, wrapper, metadata, kind = _read_file(stream, size, path.suffix.lower(), first)
        return _checkpoint(weights, wrapper, metadata, path, kind, check_finite)


def unwrap(mapping: Mapping[str, Any], *, tolerant: bool = False) -> tuple[dict[str, Tensor], str]:
    """The tensors of a checkpoint under canonical keys, and what was unwrapped; looks at keys and types only.

    Hint tensors are kept under ``paragonsr_hint.<name>``. See `containers` for the order of choice.

    Args:
        mapping: a state dict or checkpoint of anyone.
        tolerant: return ``({}, "")`` where there are no weights to be found, instead of raising.

    Raises:
        CorruptCheckpointError: as `read_checkpoint`, unless ``tolerant``.
    """
    try:
        return select(mapping, _is_tensor)
    except CorruptCheckpointError:
        if tolerant:
            return {}, ""
        raise


def write_checkpoint(
    path: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    *,
    hints: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    hint_tensors: bool = True,
    quantization: Mapping[str, Tensor] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a safetensors file whole or not at all; equal arguments give equal bytes.

    Args:
        path: ends in ``.safetensors``, in an existing folder.
        state: weights under canonical keys.
        hints: values of `HINT_NAMES`; None stands for not known.
        metadata: further texts for the header; ``format: pt`` is always there.
        hint_tensors: store the hints as tensors too, for loaders that drop the metadata (see `hints`).
        quantization: stored under ``paragonsr_quant.<name>``; comes back as `Checkpoint.quantization`.
        overwrite: replace an existing file.

    Raises:
        InvalidOptionError: another suffix, a hint or metadata of the wrong type, or tensors that cannot be stored.
        InvalidWeightsError: NaN or Inf in a weight.
        OutputError: see `atomic_path`.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise InvalidOptionError(f"{path}: checkpoints are written as .safetensors; give that suffix")
    checked = check_hints(hints)
    texts = _merge_metadata(metadata or {}, to_metadata(checked))
    tensors = {**_writable(state), **(to_tensors(checked) if hint_tensors else {})}
    tensors |= {QUANTIZATION_PREFIX + name: tensor for name, tensor in (quantization or {}).items()}
    with _named(path):
        _check_finite(tensors)
    with atomic_path(path, overwrite=overwrite) as temp, temp.open("wb") as stream:
        safetensors_file.write(stream, tensors, texts)


# --- reading -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _named(path: Path) -> Generator[None, None, None]:
    """Put the file's name before the message of every error about it."""
    try:
        yield
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from error
    except MemoryError as error:
        raise CorruptCheckpointError(f"{path}: it needs more memory than there is") from error


@contextlib.contextmanager
def _opened(path: Path) -> Generator[tuple[IO[bytes], int], None, None]:
    """A regular file of sensible size, open for reading, and its size in bytes."""
    size = _regular_size(path)
    if size > _MAX_FILE:
        raise UnsupportedFormatError(f"it has {size:,} bytes, over the limit of {_MAX_FILE:,}")
    try:
        with path.open("rb") as stream:
            yield stream, size
    except OSError as error:
        raise CheckpointError(f"it cannot be read ({error.strerror}): check its permissions and the disk") from error


def _regular_size(path: Path) -> int:
    try:
        status = path.stat()
    except PermissionError as error:
        raise CheckpointError(f"it cannot be read ({error.strerror}): check its permissions") from error
    except (OSError, ValueError) as error:
        raise CheckpointNotFoundError("there is no such file: check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointNotFoundError("this is a directory: give the checkpoint file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointNotFoundError("this is not a regular file: give a checkpoint file")
    return status.st_size


def _read_file(
    stream: IO[bytes], size: int, suffix: str, first: Look
) -> tuple[dict[str, Tensor], str, dict[str, str], str]:
    """Weights, wrapper, metadata and format name."""
    kind = sniff(stream.read(HEAD_SIZE))
    if kind == "safetensors" or (kind == "unknown" and suffix == ".safetensors"):
        tensors, metadata = safetensors_file.read(stream, size, lambda all_: first(_bare(select(all_, _is_tensor)[0])))
        return *select(tensors, _is_tensor), metadata, "safetensors"
    if kind == "unknown":
        _refuse_unknown(stream, suffix)
    file = torch_file.open_zip(stream, size) if kind == "zip" else torch_file.open_legacy(stream, size)
    if isinstance(file.tree, Opaque):
        raise UnsafeCheckpointError(
            f"unpickling it would need {file.tree.name!r}: it holds a whole model or program; nothing was run. "
            "Save only its state_dict, with the tool that made it"
        )
    if not isinstance(file.tree, dict):
        raise UnsupportedFormatError(f"it holds a {type(file.tree).__name__}, not a state dict: save the state_dict")
    stored, wrapper = select(cast("dict[Any, Any]", file.tree), _is_stored)
    _refuse_unreadable(stored)
    first(_bare({k: torch.empty(t.shape, dtype=t.storage.dtype, device="meta") for k, t in stored.items()}))
    return torch_file.load_tensors(file, stored, size), wrapper, {}, "pth"


def _bare(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in weights.items() if not key.startswith(EXTRA_PREFIXES)}


def _refuse_unknown(stream: IO[bytes], suffix: str) -> None:
    """Name the attack where an old-style pickle hides in the file, else say that it is unknown."""
    if suffix in _PICKLE_SUFFIXES:
        stream.seek(0)
        with contextlib.suppress(CorruptCheckpointError):
            _interpret_head(stream)
    raise UnsupportedFormatError("its content is no known checkpoint format: choose a .safetensors or .pth checkpoint")


def _interpret_head(stream: IO[bytes]) -> None:
    data = stream.read(MAX_PICKLE)
    interpret(io.BytesIO(data), pickle_budget(len(data)))


def _refuse_unreadable(stored: Mapping[str, Any]) -> None:
    for key, value in stored.items():
        if isinstance(value, UnreadableTensor):
            raise UnsupportedFormatError(f"its weight {shown(key)} is a {value.kind} tensor: save dense weights")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _is_stored(value: Any) -> bool:
    return isinstance(value, StoredTensor | UnreadableTensor)


def _checkpoint(
    weights: Mapping[str, Tensor],
    wrapper: str,
    metadata: dict[str, str],
    path: Path | None,
    kind: str,
    check_finite: bool,
) -> Checkpoint:
    """Check the tensors and part weights from hints."""
    tensors = {key: _admit(key, tensor) for key, tensor in weights.items()}
    state = _bare(tensors)
    quantization = {
        key.removeprefix(QUANTIZATION_PREFIX): tensor
        for key, tensor in tensors.items()
        if key.startswith(QUANTIZATION_PREFIX)
    }
    if not state:
        raise CorruptCheckpointError("no weights found, only hints: give a checkpoint of a generator")
    if check_finite:
        _check_finite(state)
    hints, sources = read_hints(metadata, tensors)
    return Checkpoint(state, hints, sources, metadata, path, kind, wrapper, quantization)


def _admit(key: str, tensor: Tensor) -> Tensor:
    """The tensor without gradient, on the CPU, after checks that look at no element."""
    label = shown(key)
    kind = _odd_kind(tensor)
    if kind is not None:
        raise UnsupportedFormatError(f"its weight {label} is a {kind} tensor: save dense weights")
    if tensor.dtype not in safetensors_file.DTYPES.values():
        raise UnsupportedFormatError(f"its weight {label} has dtype {tensor.dtype}: convert it to float32 or float16")
    if not 0 < tensor.numel() <= MAX_ELEMENTS:
        raise CorruptCheckpointError(f"its weight {label} has the useless shape {tuple(tensor.shape)}: save it again")
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bool:  # a damaged byte is neither 0 nor 1, with which torch does odd things
        tensor = tensor.view(torch.uint8).ne(0)
    return tensor


def _odd_kind(tensor: Tensor) -> str | None:
    if tensor.is_meta:
        return "meta (without data)"
    if tensor.is_quantized:
        return "quantised"
    return None if tensor.layout == torch.strided else "sparse"


def _is_finite(tensor: Tensor) -> bool:
    """In parts, so that the answers take little memory."""
    flat = tensor.flatten() if tensor.is_contiguous() else tensor
    parts: list[Tensor] = list(torch.split(flat, _PART))
    return all(bool(part.isfinite().all()) for part in parts)


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    bad = [key for key, tensor in tensors.items() if tensor.is_floating_point() and not _is_finite(tensor)]
    if bad:
        count = int((~tensors[bad[0]].isfinite()).sum())
        raise InvalidWeightsError(
            f"{len(bad)} of {len(tensors)} tensors hold NaN or Inf, first {shown(bad[0])} with {count} such values: "
            "the training diverged or the file is damaged; use an earlier checkpoint"
        )


# --- writing -----------------------------------------------------------------------------------------------------


def _merge_metadata(metadata: Mapping[str, str], hints: Mapping[str, str]) -> dict[str, str]:
    for name, text in metadata.items():
        if not isinstance(name, str) or not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOptionError(f"metadata {name!r}: safetensors stores text only; convert the value")
        if name.removeprefix(METADATA_PREFIX) in HINT_NAMES and name not in HINT_NAMES and hints.get(name) != text:
            raise InvalidOptionError(f"metadata {name!r} is the place of a hint: pass it in hints")
    return {**metadata, **hints, "format": "pt"}


def _writable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not state:
        raise InvalidOptionError("the state dict is empty: there is nothing to save")
    for key, tensor in state.items():
        if key.startswith(EXTRA_PREFIXES) or key == "__metadata__":
            raise InvalidOptionError(f"the key {key!r} is reserved: pass hints and metadata as such")
        if not isinstance(tensor, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOptionError(f"the entry {key!r} is a {type(tensor).__name__}, not a tensor")
        if _odd_kind(tensor) or tensor.dtype not in safetensors_file.DTYPES.values() or not tensor.numel():
            raise InvalidOptionError(
                f"the tensor {key!r} (shape {tuple(tensor.shape)}, {tensor.dtype}, {tensor.layout}, {tensor.device}) "
                "cannot be stored: make it dense, with data, of a usual dtype"
            )
    return dict(state)
