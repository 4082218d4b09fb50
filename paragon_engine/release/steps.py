"""The steps of a release. Each writes its files into the staging folder and returns what it found out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import paragon_arch
from paragon_arch.copying import private_copy
from paragon_arch.errors import OutputError, QualityError
from paragon_arch.files.atomic import atomic_path
from paragon_arch.networks.base import SRNetwork

from ..engines import trtexec_commands
from ..onnx_export import Precision, has_feature_tap, properties, read_graph, usable_opset, with_metadata
from ..progress import Progress, log
from . import samples
from .artefacts import graph_artefact, open_artefact
from .export import ExportOptions, Source, export_fp32, export_half, open_source, prove
from .facts import PREFIX, date_of, file_name, model_facts, parity_facts, with_prefix
from .pictures import PictureSet, fit_channels, photographs, picture_files, reduced
from .settings import ReleaseSettings
from .staging import StepResult
from .timings import machine, time_artefacts
from .verify import LIMITS, Verification, verify

SAMPLES = 3
SAMPLE_SIDE = 192
HELD_OUT = 4
"""Every fourth calibration picture is for verifying, unless others are given."""


@dataclass
class Work:
    """One release in progress."""

    settings: ReleaseSettings
    folder: Path
    """Staging."""
    progress: Progress

    @cached_property
    def source(self) -> Source:
        """The checkpoint."""
        settings = self.settings
        return open_source(settings.checkpoint, accept_identity=settings.accept_identity, **dict(settings.overrides))

    @cached_property
    def pictures(self) -> PictureSet:
        """To verify on; never those of the calibration."""
        return photographs(verification_pictures(self.settings))

    @property
    def opset(self) -> int:
        """As corrected."""
        return usable_opset(self.settings.export.opset)

    def name_of(self, precision: str, *, video: bool = False) -> str:
        """Name of a graph's file."""
        if precision in ("int8", "fp8"):
            return f"{self.settings.stem}_{precision}.onnx"
        return file_name(self.settings.stem, opset=self.opset, precision=precision, video=video)

    def write(self, name: str, content: bytes) -> None:
        """Put a file into the staging folder."""
        with atomic_path(self.folder / name, overwrite=True) as temp:
            temp.write_bytes(content)


def verification_pictures(settings: ReleaseSettings) -> list[Path]:
    """What a release is verified on: the pictures given, else every fourth of the calibration's."""
    if settings.pictures:
        return list(settings.pictures)
    return picture_files(settings.calibration)[::HELD_OUT] if settings.calibration else []


def calibration_pictures(settings: ReleaseSettings) -> list[Path]:
    """What INT8 is calibrated on: never what it is verified on."""
    held_out = {path.resolve() for path in picture_files(verification_pictures(settings))}
    return [path for path in picture_files(settings.calibration) if path.resolve() not in held_out]


def fuse(work: Work) -> StepResult:
    """The fused checkpoint, loaded again and compared."""
    name = f"{work.settings.stem}_fused.safetensors"
    source = work.source
    paragon_arch.save(source.fused, work.folder / name, overwrite=True)
    found = verify(open_artefact(work.folder / name), source.reference, work.pictures, progress=work.progress.part(0))
    _require(found)
    return {"file": name, "verification": found.to_dict(), "model": describe(source)}


def describe(source: Source) -> dict[str, Any]:
    """Facts of the model for the manifest and the card."""
    report = source.fused.report
    return {
        "layout": report.layout,
        "generation": report.generation,
        "variant": report.variant or "custom",
        "values": {name: {"value": item.value, "source": item.source} for name, item in report.values.items()},
        "parameters": report.parameters,
        "receptive_field": report.receptive_field,
        "problems": list(source.model.report.problems),
        "source": source.path.name,
        "source_sha256": source.sha256,
        "date": date_of(source.path),
    }


def fp32(work: Work, *, video: bool = False) -> StepResult:
    """The FP32 graph. A release without it makes no sense.

    Raises:
        QualityError: it differs from the checkpoint.
    """
    options = _options(work, video=video)
    graph, form = export_fp32(work.source, options)
    return _proved(work, graph, "fp32", options, [form], required=True)


def fp16(work: Work, *, video: bool = False) -> StepResult:
    """The FP16 graph, made of the FP32 one; where it fails its verification, the reason instead."""
    options = _options(work, video=video)
    graph = read_graph(work.folder / work.name_of("fp32", video=video))
    try:
        half, kept = export_half(work.source, graph, options, work.pictures, work.progress)
        return _proved(work, half, "fp16", options, [kept], required=False)
    except OutputError as error:
        return {"failed": str(error)}


def int8(work: Work) -> StepResult:
    """The INT8 graph, calibrated and searched by `paragon_engine.quantize`; where it fails, the reason instead."""
    from ..quantize import QuantizationOptions, quantize

    name, settings = work.name_of("int8"), work.settings
    target = work.folder / name
    options = QuantizationOptions(benchmark=False, overwrite=True)  # speed is measured with that of all others
    calibration = calibration_pictures(settings)
    report = quantize(_quantizable(work), calibration, target, options=options, progress=work.progress.part(0))
    if not report.passed:
        return {"failed": report.reason, "quantization": _without_times(report.to_dict())}
    graph = read_graph(target)
    facts = model_facts(
        work.source.fused,
        source_sha256=work.source.sha256,
        date=date_of(settings.checkpoint),
        made_by=settings.export.credits,
    )
    facts |= {key: value for key, value in properties(graph).items() if not key.startswith(PREFIX)}
    facts |= with_prefix({"precision": "int8", "opset": str(work.opset), "io": "fp32"})
    facts |= with_prefix({"calibration": f"{report.method}, sha256 {report.calibration.get('sha256', '')}"})
    found = verify(
        graph_artefact(with_metadata(graph, facts), name=name),
        work.source.reference,
        work.pictures,
        limits=LIMITS["int8"],
    )
    if not found.passed:
        target.unlink()
        return {"failed": "; ".join(found.failures), "verification": found.to_dict()}
    work.write(name, with_metadata(graph, facts | parity_facts(found)))
    return {"file": name, "verification": found.to_dict(), "quantization": _without_times(report.to_dict())}


def _quantizable(work: Work) -> SRNetwork:
    """The fused network, with the ranges of quantisation-aware training where the checkpoint has some."""
    from ..quantize import prepare_qat, stored_ranges

    network = private_copy(work.source.fused.model)
    ranges = stored_ranges(work.settings.checkpoint)
    if ranges:
        prepare_qat(network, ranges=ranges)
    return network


def engines(work: Work, names: list[str]) -> StepResult:
    """The TensorRT commands of every graph, for both generations."""
    name = f"{work.settings.stem}_tensorrt.txt"
    commands = {file: trtexec_commands(file, read_graph(work.folder / file), work.settings.profile) for file in names}
    work.write(name, _engine_text(commands).encode())
    return {"file": name, "commands": commands}


def _engine_text(commands: dict[str, dict[str, str]]) -> str:
    lines = [
        "# TensorRT: run these where the engine is to be used (it fits one kind of GPU, driver and TensorRT version).",
        "# The graphs are strongly typed: the FP16 file gives the FP16 engine. --fp16 is not needed, and gone in 11.",
    ]
    for generation in ("10", "11"):
        lines += ["", f"# TensorRT {generation}.x"]
        lines += [found[generation] for found in commands.values()]
    return "\n".join(lines) + "\n"


def sample_pictures(work: Work, names: list[str]) -> StepResult:
    """Crops of the first pictures: bicubic, every artefact, the original."""
    source, files = work.source.reference, list[str]()
    artefacts = [graph_artefact(read_graph(work.folder / name), name=name) for name in names]
    for index, photo in enumerate(work.pictures.photos[:SAMPLES], start=1):
        small, truth = reduced(fit_channels(photo.pixels, source.channels), source.scale)
        if source.channels != 3 or min(small.shape[2:]) < source.minimum_size:
            continue
        results = [("bicubic", samples.enlarged(small, source.scale))]
        results += [(item.precision.upper(), item.run(small)) for item in artefacts if item.fixed_size is None]
        results += [("original", truth)] if source.scale > 1 else []
        name = f"{work.settings.stem}_sample_{index}.png"
        work.write(name, samples.png(samples.sample(truth if source.scale > 1 else small, results, SAMPLE_SIDE)))
        files.append(name)
    return {"files": files}


def speed(work: Work, names: list[str]) -> StepResult:
    """Times of every artefact on every runtime here."""
    graphs = {name: read_graph(work.folder / name) for name in names}
    timings = time_artefacts(work.source.reference, graphs, progress=work.progress.part(0))
    return {"machine": machine(), "timings": [[item.file, item.runtime, item.milliseconds] for item in timings]}


def _options(work: Work, *, video: bool) -> ExportOptions:
    return replace(work.settings.export, video=video)


def _proved(
    work: Work, graph: bytes, precision: Precision, options: ExportOptions, notes: list[str], *, required: bool
) -> StepResult:
    """Verify a graph and write it if it holds."""
    found = prove(work.source, graph, precision, options, work.pictures, notes=notes, progress=work.progress.part(0))
    if required:
        _require(found.verification)
    if not found.verification.passed:
        return {"failed": "; ".join(found.verification.failures), "verification": found.verification.to_dict()}
    work.write(found.name, found.graph)
    log.info("%s: %s", found.name, found.verification.summary())
    return {"file": found.name, "verification": found.verification.to_dict(), "notes": list(found.notes)}


def _require(found: Verification) -> None:
    if not found.passed:
        raise QualityError(f"{found.artefact}: {'; '.join(found.failures)}; nothing is released")


def _without_times(report: dict[str, Any]) -> dict[str, Any]:
    """What is the same in every run."""
    same = {key: value for key, value in report.items() if key not in ("speeds", "speed_ratio", "pays", "machine")}
    return same | {"calibration": {key: value for key, value in report["calibration"].items() if key != "cached"}}


def video_wanted(work: Work) -> bool:
    """Whether video graphs are to be made; a layout without the feature tap gets a note."""
    wanted = work.settings.video
    if wanted and not has_feature_tap(work.source.fused.model):
        log.warning("%s: its layout has no feature tap, so there is no video graph", work.settings.checkpoint.name)
        return False
    return wanted
