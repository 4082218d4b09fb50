"""`release`: everything that a model author publishes, in one folder that appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import paragon_arch
from paragon_arch.errors import CheckpointNotFoundError, OutputError, OutputExistsError, QualityError
from paragon_arch.files.atomic import make_folder
from paragon_arch.files.lock import exclusive
from paragon_arch.files.records import recall

from ..onnx_export import usable_opset
from ..packages import installed
from ..progress import Progress
from . import steps
from .artefacts import file_sha256
from .card import TITLES, card
from .facts import date_of, file_name, versions
from .pictures import photographs
from .settings import ReleaseSettings
from .staging import MANIFEST, Staging, StepResult
from .steps import Work, calibration_pictures, verification_pictures


@dataclass
class Release:
    """A finished release."""

    folder: Path
    manifest: dict[str, Any]
    fresh: bool
    """False if it was there already, complete and unchanged."""
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Artefacts that were asked for and are not there, with the reason."""


def release(settings: ReleaseSettings, *, overwrite: bool = False, progress: Progress | None = None) -> Release:
    """Make a release, or go on with one that was interrupted.

    Args:
        settings: what to release, and where.
        overwrite: replace a folder that holds another release.
        progress: advanced by steps; may cancel.

    Returns:
        The release. An FP16 or INT8 graph that fails its verification is left out and listed under ``failed``.

    Raises:
        QualityError: the fused checkpoint or the FP32 graph differs from the checkpoint; nothing is left behind.
        OutputExistsError: the folder holds something else; or, whatever ``overwrite`` says, what no release made.
        OutputError: another process makes the same folder at this moment.
        ParagonError: see the tree in `paragon_arch.errors`.
    """
    progress = progress or Progress()
    key = release_key(settings)
    staging = Staging(settings.output, key, settings.stem)
    done = finished(settings.output, key)
    if done is not None:
        if staging.unclean:
            with suppress(OutputError), exclusive(staging.lock, str(settings.output)):
                staging.clean()
        return Release(settings.output, done, False, done["failed"])
    if not overwrite and settings.output.is_dir() and any(settings.output.iterdir()):
        raise OutputExistsError(f"{settings.output}: is not empty; choose another folder or ask for overwriting")
    staging.check()
    staging.check_replaceable()
    make_folder(settings.output.parent)
    with exclusive(staging.lock, str(settings.output)):
        staging.open()
        try:
            manifest = _make(Work(settings, staging.folder, progress), staging, key, progress)
        except QualityError:
            staging.discard()
            raise
        staging.publish(overwrite=overwrite)
    progress.finish()
    return Release(settings.output, manifest, True, manifest["failed"])


def plan(settings: ReleaseSettings) -> list[str]:
    """Names of the files that a release would make, without making them. FP16 and INT8 are left out if they fail."""
    stem, opset = settings.stem, usable_opset(settings.export.opset)
    precisions = ["fp32", *(["fp16"] if "fp16" in settings.export.precisions else [])]
    names = [f"{stem}_fused.safetensors"]
    names += [file_name(stem, opset=opset, precision=p) for p in precisions]
    names += [file_name(stem, opset=opset, precision=p, video=True) for p in precisions] if settings.video else []
    names += [f"{stem}_int8.onnx"] if settings.calibration else []
    names += [f"{stem}_tensorrt.txt", f"{stem}_sample_*.png", f"{stem}.md", MANIFEST]
    return names


def release_key(settings: ReleaseSettings) -> str:
    """What a release depends on: content, settings and versions, but no place.

    Raises:
        CheckpointNotFoundError: there is no checkpoint.
        ImageError: pictures are missing.
    """
    if not settings.checkpoint.is_file():
        reason = "is a folder; give the checkpoint inside it" if settings.checkpoint.is_dir() else "no such file"
        raise CheckpointNotFoundError(f"{settings.checkpoint}: {reason}")
    chosen = asdict(settings)
    for name in ("checkpoint", "output", "pictures", "calibration"):
        del chosen[name]
    calibration = calibration_pictures(settings) if settings.calibration else []
    facts = {
        "checkpoint": file_sha256(settings.checkpoint),
        "stem": settings.stem,
        "date": date_of(settings.checkpoint),
        "settings": chosen,
        "pictures": photographs(verification_pictures(settings)).sha256,
        "calibration": [file_sha256(path) for path in calibration],
        "versions": versions() | {"comfyui-paragonsr": paragon_arch.__version__},
        "openvino": installed("openvino"),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def finished(folder: Path, key: str) -> dict[str, Any] | None:
    """The manifest of a folder that holds exactly this release; None if it does not."""
    manifest = recall(folder / MANIFEST)
    if manifest.get("key") != key or not isinstance(manifest.get("failed"), dict):
        return None
    try:
        files: dict[str, dict[str, Any]] = manifest["files"]
        intact = all(
            Path(name).name == name and file_sha256(folder / name) == item["sha256"] for name, item in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if intact else None


def _make(work: Work, staging: Staging, key: str, progress: Progress) -> dict[str, Any]:
    settings, results = work.settings, dict[str, StepResult]()
    todo = _first_steps(work)
    progress.start(len(todo) + 4, label=settings.stem, unit="steps")

    def run(name: str, step: Callable[[], StepResult]) -> None:
        progress.label = f"{settings.stem}: {name}"
        progress.show()
        results[name] = staging.step(name, step, _files_of)
        progress.advance()

    for name, step in todo:
        run(name, step)
    graphs = [results[name]["file"] for name in TITLES if name != "fuse" and "file" in results.get(name, {})]
    pictures = [name for name in graphs if "_video_" not in name]
    run("engines", lambda: steps.engines(work, [name for name in graphs if "int8" not in name]))
    run("samples", lambda: steps.sample_pictures(work, pictures))
    if settings.speed and settings.export.size is None:
        run("speed", lambda: steps.speed(work, pictures))
    run("card", lambda: _card(work, results))
    manifest = _manifest(work, results, key)
    work.write(MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
    return manifest


def _first_steps(work: Work) -> list[tuple[str, Callable[[], StepResult]]]:
    """The steps that make artefacts, in order."""
    half = "fp16" in work.settings.export.precisions
    todo: list[tuple[str, Callable[[], StepResult]]] = [
        ("fuse", lambda: steps.fuse(work)),
        ("fp32", lambda: steps.fp32(work)),
    ]
    todo += [("fp16", lambda: steps.fp16(work))] if half else []
    if steps.video_wanted(work):
        todo.append(("video_fp32", lambda: steps.fp32(work, video=True)))
        todo += [("video_fp16", lambda: steps.fp16(work, video=True))] if half else []
    if work.settings.calibration:
        todo.append(("int8", lambda: steps.int8(work)))
    return todo


def _files_of(result: StepResult) -> list[str]:
    return [*([result["file"]] if "file" in result else []), *result.get("files", ())]


def _card(work: Work, results: dict[str, StepResult]) -> StepResult:
    name = f"{work.settings.stem}.md"
    sizes = {path.name: path.stat().st_size for path in work.folder.iterdir()}
    work.write(name, card(work.settings, results, sizes).encode())
    return {"file": name}


def _manifest(work: Work, results: dict[str, StepResult], key: str) -> dict[str, Any]:
    names = sorted(name for result in results.values() for name in _files_of(result))
    files = {
        name: {"sha256": file_sha256(work.folder / name), "bytes": (work.folder / name).stat().st_size}
        for name in names
    }
    made_by = work.settings.export.credits
    return {
        "key": key,
        "model": results["fuse"]["model"],
        "author": made_by.author,
        "license": made_by.license,
        "files": files,
        "steps": {name: result for name, result in results.items() if name != "card"},
        "failed": {name: result["failed"] for name, result in results.items() if "failed" in result},
        "versions": versions() | {"comfyui-paragonsr": paragon_arch.__version__},
    }
