"""Upscaling many pictures into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paragon_arch.errors import AnimationError, ImageError, OutputError, OutputExistsError
from paragon_arch.files.atomic import make_folder, remove_leftovers

from ..pictures import (
    Picture,
    WriteOptions,
    check_output,
    has_transparency,
    image_size,
    output_format,
    prepared,
    read_image,
    write_image,
)
from ..progress import Progress, log
from ..restoring import Restorer
from ..upscale import UpscaleSettings, upscale_picture
from ..upscaler import Upscaler
from .compare import write_comparison
from .pipeline import run_pipeline
from .plan import Job, Shard, plan


@dataclass(frozen=True)
class FolderOptions:
    """How a folder is worked through."""

    recursive: bool = False
    """Descend into sub-folders; the results mirror them."""
    extension: str | None = ".png"
    """Of the results, with the dot; None keeps each picture's own."""
    overwrite: bool = False
    """Replace existing results. Inputs are never replaced."""
    verify: bool = False
    """Skip an existing result only if it decodes to the end and has the right size; make it again otherwise."""
    shard: Shard | None = None
    """Do this part alone."""
    write: WriteOptions = field(default_factory=WriteOptions)
    """How results are written."""
    compare: bool = False
    """Write a comparison (`compare.write_comparison`) beside each result, as ``NAME.compare.jpg``."""


@dataclass
class FolderSummary:
    """What became of the pictures of a folder."""

    done: list[Path] = field(default_factory=list[Path])
    """Outputs written."""
    skipped: list[Path] = field(default_factory=list[Path])
    """Outputs that existed already and were left alone."""
    failed: list[tuple[Path, Exception]] = field(default_factory=list[tuple[Path, Exception]])
    """Inputs that could not be upscaled, and why."""
    passed: list[Path] = field(default_factory=list[Path])
    """Inputs that are animations."""
    pairs: list[tuple[Path, Path]] = field(default_factory=list[tuple[Path, Path]])
    """Inputs and their outputs, written or skipped: what a report shows."""

    def __str__(self) -> str:
        text = f"{len(self.done)} upscaled, {len(self.skipped)} skipped (exist already), {len(self.failed)} failed"
        return text + (f", {len(self.passed)} passed over (animations)" if self.passed else "")


class _SkippedError(Exception):
    """The output is there already."""


def upscale_files(
    upscaler: Upscaler | Restorer[Upscaler],
    inputs: Path | Sequence[Path],
    target: Path,
    settings: UpscaleSettings | None = None,
    options: FolderOptions | None = None,
    *,
    progress: Progress | None = None,
) -> FolderSummary:
    """Upscale many pictures; reading, upscaling and writing overlap, and a picture that fails does not stop the others.

    Args:
        upscaler: the model; or a pair, of which the blend that suits each picture is taken.
        inputs: pictures, folders, and patterns, as for `plan`.
        target: folder for the results, created if needed.
        settings: None for the defaults.
        options: None for the defaults.
        progress: advanced by files; may cancel.

    Raises:
        ImageError: there are no pictures.
        OutputError: the target is an input or not a folder, or two inputs have the same output.
        CancelledError: progress was cancelled; results written so far are complete.
    """
    inputs = [inputs] if isinstance(inputs, Path) else inputs
    options = options or FolderOptions()
    check_target(inputs, target)
    jobs = plan(inputs, target, recursive=options.recursive, extension=options.extension, shard=options.shard)
    return upscale_jobs(upscaler, jobs, settings, options, progress=progress)


def upscale_jobs(
    upscaler: Upscaler | Restorer[Upscaler],
    jobs: Sequence[Job],
    settings: UpscaleSettings | None = None,
    options: FolderOptions | None = None,
    *,
    progress: Progress | None = None,
) -> FolderSummary:
    """The work of `upscale_files` for jobs that are planned already."""
    settings, options, progress = settings or UpscaleSettings(), options or FolderOptions(), progress or Progress()
    for folder in {job.target.parent for job in jobs}:
        remove_leftovers(folder)
    summary = FolderSummary()
    progress.start(len(jobs), unit="files")
    worker = _Worker(upscaler, settings, options, progress, summary)
    run_pipeline(jobs, load=worker.load, work=worker.work, save=worker.save, done=worker.done)
    if summary.passed:
        shown = ", ".join(path.name for path in summary.passed[:3]) + (", ..." if len(summary.passed) > 3 else "")
        log.warning("not looked at: %d animations (%s): give them to the command video", len(summary.passed), shown)
    return summary


def check_target(inputs: Sequence[Path], target: Path) -> None:
    """Refuse a folder for results that cannot be one.

    Raises:
        OutputError: it is a file, or one of the inputs.
    """
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is a file; the output of a folder must be a folder")
    if any(path.is_dir() and target.resolve() == path.resolve() for path in inputs):
        raise OutputError(f"{target}: is the input folder; give another one for the results")


def is_complete(target: Path, size: tuple[int, int]) -> bool:
    """Whether a result decodes to its end, is of the format that its name says and of this (width, height)."""
    try:
        picture = read_image(target, max_pixels=size[0] * size[1])
    except (ImageError, OSError):
        return False
    return picture.size == size and picture.info.format == output_format(target).name


class _Worker:
    """The three steps for one picture, and the account of all."""

    def __init__(
        self,
        upscaler: Upscaler | Restorer[Upscaler],
        settings: UpscaleSettings,
        options: FolderOptions,
        progress: Progress,
        summary: FolderSummary,
    ) -> None:
        self._upscaler, self._settings, self._options = upscaler, settings, options
        self._progress, self._summary = progress, summary

    def load(self, job: Job) -> Picture:
        """Read a picture, if there is need to."""
        if job.target.exists():
            self._look_at_existing(job)
        picture = read_image(job.source, max_pixels=self._settings.max_pixels)
        size = self._settings.output_size(picture.size, self._upscaler.scale)
        check_output(job.target, size, alpha=has_transparency(picture))  # before the work, not after it
        return prepared(picture, job.target, self._options.write)

    def _look_at_existing(self, job: Job) -> None:
        """Raise `_SkippedError` if an existing output is to be kept."""
        if job.target.samefile(job.source):
            raise OutputExistsError(f"{job.target}: the output would replace its own input; give another folder")
        if self._options.overwrite:
            return
        if not self._options.verify:
            raise _SkippedError
        size = self._settings.output_size(image_size(job.source), self._upscaler.scale)
        if is_complete(job.target, size):
            raise _SkippedError
        log.info("%s: exists but is damaged or of another size; made again", job.target)

    def work(self, job: Job, picture: Picture) -> tuple[Picture | None, Picture]:
        """Upscale; the original comes along where it is to be compared."""
        before = self._progress.done
        self._progress.advance(0, label=job.source.name)
        part, name = self._progress.part(), str(job.source)
        result = upscale_picture(self._upscaler, picture, self._settings, progress=part, name=name)
        self._progress.advance(before + 1 - self._progress.done)
        return picture if self._options.compare else None, result

    def save(self, job: Job, pair: tuple[Picture | None, Picture]) -> None:
        """Write the result."""
        before, after = pair
        make_folder(job.target.parent)
        replacing = self._options.overwrite or self._options.verify
        try:
            write_image(after, job.target, self._options.write, overwrite=replacing)
        except OutputExistsError:  # another process that works on the same folder was faster
            raise _SkippedError from None
        if before is not None:
            write_comparison(before, after, job.target.with_name(job.target.stem + ".compare.jpg"), overwrite=True)

    def done(self, job: Job, error: Exception | None) -> None:
        """Note what became of a picture."""
        if error is not None:
            self._progress.advance(int(self._progress.done + 1 + 1e-6) - self._progress.done)
        if error is None:
            self._summary.done.append(job.target)
        elif isinstance(error, _SkippedError):
            self._summary.skipped.append(job.target)
        elif isinstance(error, AnimationError):
            self._summary.passed.append(job.source)
            return
        else:
            log.error("%s", error)
            log.debug("while upscaling %s", job.source, exc_info=error)
            self._summary.failed.append((job.source, error))
            return
        self._summary.pairs.append((job.source, job.target))
