"""Hints: values that keys and shapes do not show, stored in a checkpoint next to its weights.

They are stored twice, as text in the safetensors metadata under ``paragonsr.<name>``, and as small tensors under
``paragonsr_hint.<name>`` for loaders that see tensors only:

=============  =====  ==========================================
name           type   hint tensor
=============  =====  ==========================================
scale          int    int32, shape ()
alpha          float  float32, shape ()
window_size    int    int32, shape ()
use_norm       bool   bool, shape ()
attention      str    uint8, its ASCII text, shape (length,)
=============  =====  ==========================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import CorruptCheckpointError, InvalidOptionError

HINT_NAMES = ("scale", "alpha", "window_size", "use_norm", "attention")
"""Every hint there is."""
METADATA_PREFIX = "paragonsr."
TENSOR_PREFIX = "paragonsr_hint."
QUANTIZATION_PREFIX = "paragonsr_quant."
"""Of tensors that quantisation-aware training stores beside the weights (docs/quantization.md)."""
EXTRA_PREFIXES = (TENSOR_PREFIX, QUANTIZATION_PREFIX)
"""Of every tensor that is no weight."""

_TYPES: dict[str, type] = {"scale": int, "alpha": float, "window_size": int, "use_norm": bool, "attention": str}
_MAX_INT = 2**31 - 1
_MAX_TEXT = 64
_DIGITS = {torch.float16: 3, torch.bfloat16: 2}
"""Significant decimal digits of a hint tensor that someone converted, so that 0.3 comes back as 0.3."""
_FLOAT32_DIGITS = 6


def check_hints(hints: Mapping[str, Any]) -> dict[str, Any]:
    """The hints with exact types; those that are None (not known) are left out.

    Raises:
        InvalidOptionError: an unknown name, or a value of the wrong type or out of range.
    """
    checked: dict[str, Any] = {}
    for name, value in hints.items():
        if name not in _TYPES:
            raise InvalidOptionError(f"unknown hint {name!r}; known are {', '.join(HINT_NAMES)}")
        if value is not None:
            checked[name] = _check(name, value)
    return checked


def _check(name: str, value: Any) -> Any:
    kind = _TYPES[name]
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise InvalidOptionError(f"hint {name}={value!r}: expected {kind.__name__}, not {type(value).__name__}")
    if not _in_range(value):
        raise InvalidOptionError(f"hint {name}={value!r} is out of range")
    return value


def _in_range(value: Any) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return 1 <= value <= _MAX_INT
    if isinstance(value, float):
        return math.isfinite(value)
    return 0 < len(value) <= _MAX_TEXT and value.isascii() and value.isprintable()


def to_metadata(hints: Mapping[str, Any]) -> dict[str, str]:
    """Checked hints as safetensors metadata."""
    return {METADATA_PREFIX + name: _to_text(value) for name, value in hints.items()}


def _to_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def to_tensors(hints: Mapping[str, Any]) -> dict[str, Tensor]:
    """Checked hints as hint tensors."""
    return {TENSOR_PREFIX + name: _to_tensor(value) for name, value in hints.items()}


def _to_tensor(value: Any) -> Tensor:
    if isinstance(value, str):
        return torch.tensor(list(value.encode("ascii")), dtype=torch.uint8)
    if isinstance(value, bool):
        return torch.tensor(value)
    return torch.tensor(value, dtype=torch.int32 if isinstance(value, int) else torch.float32)


def read_hints(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, str]]:
    """Typed hints of a file, and where each was found: ``"metadata"``, which wins, or ``"hint tensor"``.

    Args:
        metadata: the safetensors metadata.
        tensors: tensors of the file; those that are not hint tensors do not matter.

    Raises:
        CorruptCheckpointError: a hint's value does not have the hint's type.
    """
    hints: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in HINT_NAMES:
        if (text := metadata.get(METADATA_PREFIX + name)) is not None:
            hints[name], sources[name] = _typed(name, text), "metadata"
        elif (tensor := tensors.get(TENSOR_PREFIX + name)) is not None:
            hints[name], sources[name] = _typed(name, _tensor_to_text(name, tensor)), "hint tensor"
    return hints, sources


def _tensor_to_text(name: str, tensor: Tensor) -> str:
    if _TYPES[name] is str:
        return _letters(tensor)
    if tensor.numel() != 1:
        return f"a tensor of shape {tuple(tensor.shape)}"
    value = tensor.item()
    if isinstance(value, float) and math.isfinite(value):
        value = float(f"{value:.{_DIGITS.get(tensor.dtype, _FLOAT32_DIGITS)}g}")
        if _TYPES[name] is not float and value.is_integer():  # a converter made the whole file half precision
            value = int(value)
    return _to_text(value)


def _letters(tensor: Tensor) -> str:
    if tensor.ndim != 1 or not 0 < tensor.numel() <= _MAX_TEXT:
        return ""
    codes: list[float] = cast("Any", tensor).tolist()
    return "".join(chr(int(code)) if 0 < code < 128 else "?" for code in codes)


def _typed(name: str, text: str) -> Any:
    value = _parse(_TYPES[name], text.strip())
    if value is None or not _in_range(value):
        shown = text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."
        raise CorruptCheckpointError(
            f"the stored hint {name} is {shown!r}, not a valid {_TYPES[name].__name__}: save the checkpoint again"
        )
    return value


def _parse(kind: type, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
    if kind is int:
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(_MAX_INT)) else None
    try:
        return float(text)
    except ValueError:
        return None
