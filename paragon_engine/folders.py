"""Upscaling a folder of pictures into another folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spandrel import ImageModelDescriptor

from paragon_arch.errors import CancelledError, ImageError, OutputError, OutputExistsError

from .pictures import EXTENSIONS
from .progress import Progress, log
from .upscale import UpscaleSettings, upscale_file


@dataclass
class FolderSummary:
    """What became of the pictures of a folder."""

    done: list[Path] = field(default_factory=list[Path])
    """Outputs written."""
    skipped: list[Path] = field(default_factory=list[Path])
    """Outputs that existed already and were left alone."""
    failed: list[tuple[Path, Exception]] = field(default_factory=list[tuple[Path, Exception]])
    """Inputs that could not be upscaled, and why."""

    def __str__(self) -> str:
        return f"{len(self.done)} upscaled, {len(self.skipped)} skipped (exist already), {len(self.failed)} failed"


def upscale_folder(
    model: ImageModelDescriptor[Any],
    source: Path,
    target: Path,
    settings: UpscaleSettings | None = None,
    *,
    recursive: bool = False,
    extension: str | None = ".png",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> FolderSummary:
    """Upscale every picture of a folder; a picture that fails does not stop the others.

    Args:
        model: on the device that does the work.
        source: folder of pictures, recognised by their extensions; other files are left alone.
        target: folder for the results, created if needed; sub-folders are mirrored.
        settings: None for the defaults.
        recursive: descend into sub-folders.
        extension: of the results, with the dot; None keeps each picture's own.
        overwrite: replace existing results; otherwise they are skipped. Inputs are never replaced.
        progress: advanced by files; may cancel.

    Raises:
        ImageError: the folder has no pictures.
        OutputError: the target is the source or not a folder.
        CancelledError: progress was cancelled; results written so far are complete.
    """
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is a file; the output of a folder must be a folder")
    if target.resolve() == source.resolve():
        raise OutputError(f"{target}: is the input folder; give another one for the results")
    jobs = plan(source, target, recursive=recursive, extension=extension)
    if not jobs:
        hint = "" if recursive else " (sub-folders are only searched recursively)"
        raise ImageError(f"{source}: no pictures in this folder{hint}")
    progress, summary = progress or Progress(), FolderSummary()
    progress.start(len(jobs), unit="files")
    for picture, output in jobs:
        progress.advance(0, label=picture.name)
        before = progress.done
        _one(model, picture, output, settings, summary, overwrite=overwrite, progress=progress)
        progress.advance(before + 1 - progress.done)
    return summary


def plan(source: Path, target: Path, *, recursive: bool, extension: str | None) -> list[tuple[Path, Path]]:
    """Pairs of (picture, its output), in a stable order.

    Where two pictures differ in their extension alone, their outputs keep it: ``a.jpg`` gives ``a.jpg.png``.
    """
    pictures = list(_pictures(source, avoid=target.resolve(), recursive=recursive))
    outputs = [_renamed(target / path.relative_to(source), extension) for path in pictures]
    # case-insensitively, as some file systems are
    times = Counter(str(output).casefold() for output in outputs)
    return [
        (path, output if times[str(output).casefold()] == 1 else output.with_name(path.name + output.suffix))
        for path, output in zip(pictures, outputs, strict=True)
    ]


def _renamed(path: Path, extension: str | None) -> Path:
    return path if extension is None else path.with_suffix(extension)


def _pictures(source: Path, *, avoid: Path, recursive: bool) -> Iterator[Path]:
    """Files with a picture's extension, without those below ``avoid``: the results of an earlier run."""
    for folder, subfolders, files in os.walk(source):
        here = Path(folder)
        subfolders[:] = sorted(name for name in subfolders if (here / name).resolve() != avoid) if recursive else []
        yield from (here / name for name in sorted(files) if Path(name).suffix.lower() in EXTENSIONS)


def _one(
    model: ImageModelDescriptor[Any],
    picture: Path,
    output: Path,
    settings: UpscaleSettings | None,
    summary: FolderSummary,
    *,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Upscale one picture of a folder and note what became of it."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        upscale_file(model, picture, output, settings, overwrite=overwrite, progress=progress.part())
    except CancelledError:
        raise
    except OutputExistsError:
        summary.skipped.append(output)
    except Exception as error:  # whatever is wrong with one picture, the others are still to be done
        log.error("%s", error)
        log.debug("while upscaling %s", picture, exc_info=True)
        summary.failed.append((picture, error))
    else:
        summary.done.append(output)
