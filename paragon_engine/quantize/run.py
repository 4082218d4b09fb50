"""From a model and pictures to a quantised graph that has passed its target, or to the reason why there is none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from paragon_arch.networks.base import SRNetwork
from paragon_arch.spandrel_support import ParagonModelDescriptor

from ..progress import Progress
from .options import QuantizationOptions
from .report import QuantizationReport

Source = str | os.PathLike[str] | ParagonModelDescriptor | SRNetwork
Pictures = str | os.PathLike[str] | Sequence[Path]


def quantize(
    source: Source,
    calibration: Pictures,
    out: str | os.PathLike[str],
    *,
    options: QuantizationOptions | None = None,
    progress: Progress | None = None,
) -> QuantizationReport:
    """Quantise a model, keep in higher precision what must be, measure loss and speed, and write the graph if it passes.

    The graph is that of the model's inference form, ``input`` (N, C, H, W) FP32 RGB in 0..1 to ``output``
    (N, C, H*s, W*s) FP32. A checkpoint of quantisation-aware training brings the ranges of its layers along and is
    not calibrated; its other layers stay in FP32.

    Args:
        source: a checkpoint, or a loaded model or network on the CPU (load it yourself to override its scale or alpha).
        calibration: folder of pictures of any size, searched recursively, or their paths.
        out: ends in ``.onnx``; written only if both losses are within their targets.
        options: None for the defaults.
        progress: advanced by steps; may cancel.

    Returns:
        What was measured. Look at ``passed``, or call ``raise_if_failed``: a graph that misses its target is not
        written, and that alone is no exception here.

    Raises:
        CheckpointError, LayoutError, OptionError: the source cannot be used, or a package is missing.
        ImageError: there are no pictures, or too few to keep some for measuring.
        OutputExistsError: ``out`` exists, and the options do not allow to replace it.
        OutputError: the model cannot be exported.
        CancelledError: progress was cancelled.
    """
    raise NotImplementedError
