"""From a model and pictures to a quantised graph that has passed its target, or to the reason why there is none."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from paragon_arch.errors import OutputError
from paragon_arch.files.atomic import atomic_path

from ..onnx_export import check_graph
from ..packages import require
from ..progress import Progress, log
from ..upscale import refuse_existing
from . import graph as graphs
from .calibration import Calibration, calibrate
from .graph import Layer
from .loss import Score, by_picture, mean_loss, scores
from .options import QuantizationOptions
from .pictures import Pair, crops, fingerprint, list_pictures, pairs, split, spread
from .report import LayerLoss, QuantizationReport
from .search import Found, search, single_losses
from .source import Source, Subject, open_source
from .speed import machine, measure

Pictures = str | os.PathLike[str] | Sequence[Path]

SEARCHED = 10
"""Pictures of the calibration set that the search measures on."""
MARGINS = (0.8, 0.4, 0.2, 0.1, 0.05)
"""Shares of the target that the search aims at, one after the other, until other pictures confirm it."""
LEAST_WORK = 0.05
"""A graph with less work than this in low precision is an FP32 graph by another name."""


def quantize(
    source: Source,
    calibration: Pictures,
    out: str | os.PathLike[str],
    *,
    options: QuantizationOptions | None = None,
    progress: Progress | None = None,
) -> QuantizationReport:
    """Quantise a model, keep in higher precision what must be, measure loss and speed, write the graph if it passes.

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
    options, progress, path = options or QuantizationOptions(), progress or Progress(), Path(out)
    if path.suffix.lower() != ".onnx":
        raise OutputError(f"{path}: name the output *.onnx")
    origin = Path(source) if isinstance(source, str | os.PathLike) else None
    refuse_existing(origin, path, overwrite=options.overwrite)
    seen, unseen = split(list_pictures(calibration), options.holdout)
    progress.start(10, label="exporting")
    work = _Work(open_source(source, options), seen, unseen, options, progress)
    report, graph = work.run()
    if report.passed:
        with atomic_path(path, overwrite=options.overwrite) as temp:
            temp.write_bytes(graph)
        report.written = path
    return report


@dataclass
class _State:
    """What the steps of one quantisation share."""

    model: Any
    """The FP32 graph, with the types of its tensors."""
    calibration: Calibration
    searched: list[Pair]
    base: list[Score]
    """Of the FP32 graph on the pictures of the search."""


class _Work:
    """One quantisation."""

    def __init__(
        self,
        subject: Subject,
        seen: list[Path],
        unseen: list[Path],
        options: QuantizationOptions,
        progress: Progress,
    ) -> None:
        self.subject, self.seen, self.unseen = subject, seen, unseen
        self.options, self.progress = options, progress
        self.integers = options.kind != "fp8"
        self.sizes = {"scale": subject.scale, "channels": subject.channels}

    def run(self) -> tuple[QuantizationReport, bytes]:
        """Calibrate, search, confirm on other pictures, measure the speed."""
        state = self._observe()
        layers = self._layers(state.model)
        loss = self._loss_of(state)
        losses = self._single_losses(layers, loss)
        found, graph, report = self._confirmed(state, losses, loss)
        report.layers = [LayerLoss(layer.name, found.plan[layer], losses[layer], layer.work) for layer in losses]
        if self.options.benchmark:
            part = self.progress.part(2)
            report.speeds, report.unmeasured = measure(
                self.subject.graph,
                graph,
                channels=self.subject.channels,
                size=self.options.size,
                runs=self.options.runs,
                progress=part,
            )
        return report, graph

    def _observe(self) -> _State:
        options, digest = self.options, fingerprint(self.seen)
        made = crops(self.seen, side=options.crop, count=options.samples, **self.sizes)
        calibration = (
            Calibration(self.subject.bounds, digest, 0, 0, cached=False)
            if self.subject.bounds
            else calibrate(self.subject.graph, made, digest, options, self.progress.part(2))
        )
        searched = pairs(spread(self.seen, SEARCHED), side=options.crop, **self.sizes)
        base = scores(self.subject.graph, searched, self.subject.scale, ssim=False)
        return _State(graphs.load(self.subject.graph), calibration, searched, base)

    def _layers(self, model: Any) -> list[Layer]:
        layers = graphs.find_layers(model)
        graphs.check_kept(layers, self.options.keep)
        trained = self.subject.trained
        return [
            layer
            for layer in layers
            if not any(part in layer.name for part in self.options.keep) and (not trained or layer.weight in trained)
        ]

    def _loss_of(self, state: _State) -> Any:
        known: dict[frozenset[tuple[Layer, str]], float] = {}  # a search that aims lower meets the same plans again

        def loss(plan: Mapping[Layer, str]) -> float:
            key = frozenset((layer, precision) for layer, precision in plan.items() if precision != "fp32")
            if key not in known:
                known[key] = measured(plan)
            return known[key]

        def measured(plan: Mapping[Layer, str]) -> float:
            graph = graphs.quantized(state.model, plan, state.calibration.bounds, self.options)
            found = scores(graph, state.searched, self.subject.scale, ssim=False, integers=self.integers)
            self.progress.raise_if_cancelled()
            return mean_loss(state.base, found)

        return loss

    def _single_losses(self, layers: list[Layer], loss: Any) -> dict[Layer, float]:
        part = self.progress.part(3)
        part.start(len(layers), label="measuring layers")
        return single_losses(layers, loss, self.options.kind, part)

    def _confirmed(
        self, state: _State, losses: dict[Layer, float], loss: Any
    ) -> tuple[Found, bytes, QuantizationReport]:
        """Search until pictures that were not calibrated on confirm the target, or give up."""
        options = self.options
        measured = pairs(spread(self.unseen, options.pictures), side=options.side, **self.sizes)
        base = scores(self.subject.graph, measured, self.subject.scale)
        fallback = self._fallbacks(losses, loss)

        def attempt(margin: float) -> tuple[Found, bytes, QuantizationReport]:
            self.progress.advance(1, label="searching")
            target = margin * options.target_db
            found = search(losses, loss, precision=options.kind, fallback=fallback, target=target)
            graph = self._finished(graphs.quantized(state.model, found.plan, state.calibration.bounds, options), found)
            pictures = by_picture(measured, base, scores(graph, measured, self.subject.scale, integers=self.integers))
            return found, graph, self._report(state, found, pictures)

        result = attempt(MARGINS[0])
        for margin in MARGINS[1:]:
            report = result[2]
            if report.passed or report.quantized_work < LEAST_WORK:
                break
            log.info("loss %.3f dB on pictures that were not calibrated on: searching on", report.loss_db)
            result = attempt(margin)
        return result

    def _fallbacks(self, losses: dict[Layer, float], loss: Any) -> dict[Layer, str]:
        """16 bits where they were asked for and do lose little."""
        if self.options.fallback == "fp32":
            return dict.fromkeys(losses, "fp32")
        harmless = self.options.target_db / 4
        return {layer: "int16" if loss({layer: "int16"}) <= harmless else "fp32" for layer in losses}

    def _finished(self, graph: bytes, found: Found) -> bytes:
        """The graph with what its users must know, checked."""
        onnx = require("onnx", "quantising")
        model = onnx.load_from_string(graph)
        properties = {item.key: item.value for item in model.metadata_props}
        kept = sum(precision == "fp32" for precision in found.plan.values())
        properties |= {
            "paragonsr.precision": self.options.kind,
            "paragonsr.quantized_layers": f"{len(found.plan) - kept} of {len(found.plan)}",
        }
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, dict(sorted(properties.items())))
        graph = model.SerializeToString(deterministic=True)
        check_graph(graph, scale=self.subject.scale)
        return graph

    def _report(self, state: _State, found: Found, pictures: Any) -> QuantizationReport:
        loss, ssim = (fmean(getattr(item, name) for item in pictures) for name in ("loss_db", "ssim_loss"))
        work = sum(layer.work for layer, precision in found.plan.items() if precision != "fp32")
        reason = _why_failed(loss, ssim, work, self.options)
        calibration = state.calibration
        return QuantizationReport(
            kind=self.options.kind,
            passed=not reason,
            reason=reason,
            written=None,
            loss_db=loss,
            ssim_loss=ssim,
            quantized_work=work,
            method="checkpoint" if self.subject.bounds else self.options.method,
            calibration={
                "sha256": calibration.sha256,
                "pictures": calibration.pictures,
                "crops": calibration.crops,
                "cached": calibration.cached,
            },
            graph_sha256=hashlib.sha256(self.subject.graph).hexdigest(),
            machine=machine(),
            pictures=list(pictures),
            options=self.options.to_dict(),
        )


def _why_failed(loss: float, ssim: float, work: float, options: QuantizationOptions) -> str:
    if work < LEAST_WORK:
        return (
            f"all but {100 * work:.0f} % of the work must stay in higher precision to lose no more than "
            f"{options.target_db:g} dB; train it for quantisation (docs/quantization.md) or allow a larger loss"
        )
    if loss > options.target_db:
        return f"it loses {loss:.2f} dB of PSNR, more than {options.target_db:g}"
    if ssim > options.target_ssim:
        return f"it loses {ssim:.4f} of SSIM, more than {options.target_ssim:g}"
    return ""
