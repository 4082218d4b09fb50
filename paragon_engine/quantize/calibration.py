"""Ranges of activations, observed by ONNX Runtime's calibrators, and remembered."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragon_arch.errors import ParagonError
from paragon_arch.files.atomic import atomic_path
from paragon_arch.files.records import recall

from ..backends.choose import cache_file
from ..packages import require, version
from ..progress import Progress, log
from .graph import OPERATORS, Bounds, quiet
from .options import QuantizationOptions
from .pictures import Batch, Pair


@dataclass(frozen=True)
class Calibration:
    """What was observed."""

    bounds: Bounds
    sha256: str
    """Of the set of pictures."""
    pictures: int
    crops: int
    cached: bool


class _Reader:
    """Batches in the form that the calibrators ask for."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._rest: Iterator[Batch] = iter(batches)

    def get_next(self) -> dict[str, Batch] | None:
        batch = next(self._rest, None)
        return None if batch is None else {"input": batch}


def calibrate(
    graph: bytes, pairs: Sequence[Pair], digest: str, options: QuantizationOptions, progress: Progress
) -> Calibration:
    """Observe a graph's activations, or take them from the cache.

    Args:
        graph: serialised, FP32.
        pairs: whose low-resolution sides are run.
        digest: hash of the set of pictures, a part of the cache's key.
        options: method and place of the cache.
        progress: advanced by crops; may cancel.
    """
    file = _cache(options) / f"{_key(graph, digest, pairs, options)}.json"
    bounds = _remembered(file)
    cached = bounds is not None
    if bounds is None:
        bounds = _observe(graph, pairs, options, progress)
        _remember(file, bounds)
    return Calibration(bounds, digest, len({pair.name for pair in pairs}), len(pairs), cached)


def _observe(graph: bytes, pairs: Sequence[Pair], options: QuantizationOptions, progress: Progress) -> Bounds:
    tools = require("onnxruntime.quantization.calibrate", "calibrating")
    progress.start(len(pairs), label="calibrating")
    # one by one, because the tools keep whatever they are given in memory; those of 1.17 cannot go on a second time
    parts = [[pair] for pair in pairs] if hasattr(tools.TensorsData, "items") else [pairs]
    with tempfile.TemporaryDirectory() as folder, quiet():
        calibrator = _calibrator(graph, Path(folder), options)
        for part in parts:
            calibrator.collect_data(_Reader([pair.low for pair in part]))
            progress.advance(len(part))
        data: Any = calibrator.compute_data()
    names = ("avg", "std") if options.kind == "fp8" else ("lowest", "highest")
    return {tensor: {name: _number(getattr(data[tensor], name)) for name in names} for tensor in data}


def _calibrator(graph: bytes, folder: Path, options: QuantizationOptions) -> Any:
    tools = require("onnxruntime.quantization.calibrate", "calibrating")
    method, extra = _method(tools.CalibrationMethod, options)
    model = folder / "model.onnx"
    model.write_bytes(graph)
    return tools.create_calibrator(
        model,
        list(OPERATORS),
        augmented_model_path=str(folder / "augmented.onnx"),
        calibrate_method=method,
        extra_options=extra,
    )


def _method(methods: Any, options: QuantizationOptions) -> tuple[Any, dict[str, Any]]:
    if options.kind == "fp8":
        return methods.Distribution, {"scenario": "same"}
    if options.method == "entropy":
        return methods.Entropy, {"symmetric": False}
    if options.method == "percentile":
        return methods.Percentile, {"percentile": options.percentile, "symmetric": False}
    return methods.MinMax, {}


def _number(value: Any) -> float:
    return float(value.reshape(-1)[0]) if hasattr(value, "reshape") else float(value)


def _cache(options: QuantizationOptions) -> Path:
    return cache_file().parent / "calibration" if options.cache is None else options.cache


def _key(graph: bytes, digest: str, pairs: Sequence[Pair], options: QuantizationOptions) -> str:
    """What observed ranges depend on."""
    facts = [
        hashlib.sha256(graph).hexdigest(),
        digest,
        [pair.low.shape for pair in pairs],
        options.kind,
        options.method,
        options.percentile if options.method == "percentile" else None,
        version("onnxruntime"),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _remembered(file: Path) -> Bounds | None:
    try:
        return {tensor: {k: float(v) for k, v in values.items()} for tensor, values in recall(file).items()} or None
    except (ValueError, AttributeError, TypeError):  # damaged: observe again
        return None


def _remember(file: Path, bounds: Bounds) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file, overwrite=True) as temp:
            temp.write_text(json.dumps(bounds, indent=1), encoding="utf-8")
    except (OSError, ParagonError) as error:
        log.info("the calibration is not remembered: %s", error)
