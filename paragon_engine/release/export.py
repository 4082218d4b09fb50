"""From a checkpoint to ONNX files that are proved equal to it before they get their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

import paragon_arch
from paragon_arch.errors import InvalidOptionError, OutputError, OutputExistsError
from paragon_arch.files.atomic import atomic_path, make_folder
from paragon_arch.model import FamilyModel
from paragon_arch.networks.base import SRNetwork

from ..inference import inference_form
from ..onnx_export import (
    Precision,
    check_graph,
    export_onnx,
    has_feature_tap,
    sorts_tokens,
    usable_opset,
    with_metadata,
)
from ..progress import Progress, log
from .artefacts import Artefact, file_sha256, graph_artefact, network_artefact
from .facts import Credits, date_of, file_name, model_facts, parity_facts, stem_of, with_prefix
from .half import half_graph
from .pictures import PictureSet, centre, fit_channels, odd_inputs, photographs, reduced, resized_inputs
from .verify import LIMITS, Limits, Verification, verify

PRECISIONS: list[Precision] = ["fp32", "fp16"]
SEARCH_SIDE = 64
"""Side of the inputs on which the FP16 search measures."""


STABLE = "tokens of a category in the order of the pixels, which the checkpoint leaves to the platform"
"""Of the pro variant of v2-atd; it was compared with the checkpoint in the same order."""


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and how."""

    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    opset: int = 18
    """Corrected, with a message, to one that can be written."""
    size: tuple[int, int] | None = None
    """Height and width of a graph that takes nothing else; None leaves them open."""
    io: Precision = "fp32"
    """Type of the FP16 graph's inputs and outputs."""
    slim: bool = True
    video: bool = False
    """Export the graph with the feature tap instead."""
    stem: str | None = None
    """What the files' names start with; None: the checkpoint's name, without "_fused" at its end."""
    credits: Credits = field(default_factory=Credits)


@dataclass(frozen=True)
class Source:
    """A checkpoint that is being exported."""

    path: Path
    sha256: str
    model: FamilyModel
    """As loaded."""
    fused: FamilyModel
    reference: Artefact
    """What everything is proved against: the checkpoint as loaded, unfused if it is."""


@dataclass(frozen=True)
class Export:
    """One graph, proved or found wrong."""

    name: str
    """Of the file."""
    graph: bytes = field(repr=False)
    verification: Verification
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain types, the graph left out."""
        return {"file": self.name, "notes": list(self.notes), "verification": self.verification.to_dict()}


def open_source(path: Path, *, accept_identity: bool = False, device: str = "cpu", **overrides: Any) -> Source:
    """Load a checkpoint and fuse it.

    Raises:
        FusionError: its dynamic kernels were never tracked and ``accept_identity`` is false.
        ParagonError: see `paragon_arch.load`.
    """
    sha256 = file_sha256(path) if path.is_file() else ""
    model = paragon_arch.open_model(path, **overrides)
    fused = paragon_arch.fuse(model, accept_identity=accept_identity)
    reference = network_artefact(model.model, name=path.name, device=device, size=path.stat().st_size, sha256=sha256)
    return Source(path, sha256, model, fused, reference)


def export_fp32(source: Source, options: ExportOptions) -> tuple[bytes, str]:
    """The FP32 graph of a checkpoint and what it is of, in words: the inference form, or where that fails the fused."""
    network: SRNetwork = source.fused.model.to("cpu")
    if options.video and not has_feature_tap(network):
        raise InvalidOptionError(
            f"{source.path.name}: only the layouts v2-v10 and v2-release have the feature tap of a video graph"
        )
    order = f"; {STABLE}" if sorts_tokens(network) else ""
    arguments: dict[str, Any] = {
        "opset": usable_opset(options.opset),
        "dynamic": options.size is None,
        "size": options.size,
        "video": options.video,
        "slim": options.slim,
    }
    try:
        return export_onnx(inference_form(network, target="graph"), **arguments), f"inference form{order}"
    except OutputError as error:
        log.info("the inference form is not exported: %s", error)
        return export_onnx(network, **arguments), f"fused form{order}"


def prove(
    source: Source,
    graph: bytes,
    precision: Precision,
    options: ExportOptions,
    pictures: PictureSet,
    *,
    limits: Limits | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Export:
    """Verify a graph and give it its metadata and name."""
    opset = usable_opset(options.opset)
    name = file_name(options.stem or stem_of(source.path), opset=opset, precision=precision, video=options.video)
    facts = model_facts(source.fused, source_sha256=source.sha256, date=date_of(source.path), made_by=options.credits)
    own = {"precision": precision, "opset": str(opset), "io": options.io if precision == "fp16" else "fp32"}
    own |= {"calibration": "none"}
    described = with_metadata(graph, facts | with_prefix(own))
    check_graph(described, scale=source.reference.scale)
    candidate = graph_artefact(described, name=name)
    verification = verify(candidate, source.reference, pictures, limits=limits or LIMITS[precision], progress=progress)
    described = with_metadata(graph, facts | with_prefix(own) | parity_facts(verification))
    return Export(name, described, verification, tuple(notes))


def export_half(
    source: Source, graph: bytes, options: ExportOptions, pictures: PictureSet, progress: Progress | None = None
) -> tuple[bytes, str]:
    """The FP16 graph made of an FP32 one, and a sentence on what stays in FP32."""
    channels, least = source.reference.channels, source.reference.minimum_size
    others: list[Tensor] = []
    if options.size is not None:
        inputs = resized_inputs(pictures, options.size, channels=channels)[:2]
    else:
        small = [reduced(fit_channels(p.pixels, channels), source.reference.scale)[0] for p in pictures.photos]
        small = [x for x in small if min(x.shape[2:]) >= least]
        odd = odd_inputs(pictures, least=least, channels=channels)
        # small and narrow ones are all border, where some networks lose most
        inputs = [centre(x, max(SEARCH_SIDE, least)) for x in small[:2]]
        inputs += [x for x in odd if x.shape[2] * x.shape[3] < 8000]
        others = small + odd
    psnr = LIMITS["fp16"].psnr or 60.0
    found = half_graph(graph, inputs, target=psnr, io=options.io, others=others, progress=progress)
    return found.graph, f"in FP32: {found.kept}"


def export_all(
    source: Source, options: ExportOptions, pictures: PictureSet, *, progress: Progress | None = None
) -> list[Export]:
    """Export and verify in every precision that the options name, FP32 first."""
    progress = progress or Progress()
    progress.start(1 + 2 * len(options.precisions), label="exporting")
    graph, form = export_fp32(source, options)
    progress.advance(label="verifying")
    exports: list[Export] = []
    for precision in options.precisions:
        notes, chosen = [form], graph
        if precision == "fp16":
            chosen, kept = export_half(source, graph, options, pictures, progress)
            notes.append(kept)
        progress.advance()
        exports.append(prove(source, chosen, precision, options, pictures, notes=notes, progress=progress.part()))
    return exports


def export_checkpoint(
    path: Path,
    folder: Path,
    options: ExportOptions | None = None,
    *,
    pictures: PictureSet | None = None,
    accept_identity: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
    **overrides: Any,
) -> list[Export]:
    """Export a checkpoint to ONNX files in a folder; a graph that fails its verification is not written.

    Args:
        path: checkpoint, fused or not.
        folder: made if it is not there; gets ``<stem>_op<N>_fp32.onnx`` and ``..._fp16.onnx``.
        options: None for the defaults.
        pictures: to verify on; None for generated ones.
        accept_identity: as for `paragon_arch.fuse`.
        overwrite: replace existing files.
        device: where PyTorch computes what the graphs are compared with.
        progress: may cancel.
        overrides: for `paragon_arch.load`.

    Returns:
        Every graph with its verification; `Verification.passed` tells which were written.

    Raises:
        ParagonError: see the tree in `paragon_arch.errors`.
    """
    options = options or ExportOptions()
    refuse_targets(path, folder, options, overwrite=overwrite)
    source = open_source(path, accept_identity=accept_identity, device=device, **overrides)
    make_folder(folder)  # before the work, but not for a checkpoint that cannot be opened
    exports = export_all(source, options, pictures or photographs(), progress=progress)
    for item in exports:
        if item.verification.passed:
            with atomic_path(folder / item.name, overwrite=overwrite) as temp:
                temp.write_bytes(item.graph)
    return exports


def refuse_targets(path: Path, folder: Path, options: ExportOptions, *, overwrite: bool) -> None:
    """Refuse existing outputs before the work.

    Raises:
        OutputError: the folder is a file, or a file exists and is not to be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder")
    opset = usable_opset(options.opset)
    for precision in options.precisions:
        target = folder / file_name(
            options.stem or stem_of(path), opset=opset, precision=precision, video=options.video
        )
        if target.exists() and not overwrite:
            raise OutputExistsError(f"{target}: exists already; choose another folder or ask for overwriting")
