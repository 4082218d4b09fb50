"""Upscaling a video file into another, by segments that survive an interruption."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from paragon_arch.errors import ImageError, InvalidOptionError
from paragon_arch.files.atomic import atomic_path, leftover, make_folder, output_errors, remove_leftovers
from paragon_arch.files.lock import exclusive
from paragon_arch.files.ours import refuse_strangers, remove_ours
from paragon_arch.files.patience import patiently

from ..jobs.pipeline import prefetched
from ..pictures.alpha import bleed, within_neighbourhood
from ..progress import Progress, log
from ..restoring import Restorer
from ..upscale import refuse_existing
from ..upscaler import Upscaler
from .animation import OUTPUTS, is_animation, upscale_animation
from .encode import EncodeOptions, Encoding, SegmentWriter, choose_encoding
from .frames import FrameSettings, FrameUpscaler
from .mux import container_format, join, plan_copies
from .restored import suited_to_video
from .source import WHOLE, Frame, VideoInfo, Window, probe, read_frames

WARM_UP = 8
"""Frames before the place of resuming that the temporal feedback looks at again: 0.2 to the eighth is nothing."""
_LOCK, _MARK = "lock", "job"
_SEGMENT = re.compile(r"(\d{6})_(-?\d+)_(\d+)\.(?:nut|mov)")


@dataclass(frozen=True)
class VideoSettings:
    """How a video is upscaled."""

    frames: FrameSettings = field(default_factory=FrameSettings)
    """Size, tiles, temporal feedback."""
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    """Codec and quality."""
    audio: bool = True
    """Copy the sound."""
    subtitles: bool = True
    """Copy the subtitles."""
    window: Window = WHOLE
    """The part of the video that is wanted; the output begins with it."""
    segment: int = 240
    """Frames after which the work so far is safe."""


@dataclass(frozen=True)
class VideoSummary:
    """What became of a video."""

    frames: int
    """In the output."""
    resumed: int
    """Of these, frames that an earlier run had made."""
    seconds: float
    """Time that the others took."""

    def __str__(self) -> str:
        new = self.frames - self.resumed
        rate = f"{new / self.seconds:.3g} frames/s" if self.seconds else "at once"
        return f"{self.frames} frames ({self.resumed} of an earlier run), {rate}"


def upscale_video(
    upscaler: Upscaler | Restorer[Upscaler],
    source: Path,
    target: Path,
    settings: VideoSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> VideoSummary:
    """Upscale a video. Decoding, the network and encoding overlap; a few frames are in memory at a time.

    Finished segments lie in the folder ``TARGET.parts`` until the end. If the work is stopped, in whatever way, the
    same call goes on after the last of them.

    Args:
        upscaler: the model; or a pair, of which the blend that suits the video is taken.
        source: anything that FFmpeg reads.
        target: .mp4, .m4v, .mov, .mkv or .webm; for an animation (GIF, WebP, APNG) also .webp, .apng, .png or .gif,
            with its transparency.
        settings: None for the defaults.
        overwrite: replace an existing target; the source never is.
        progress: advanced by frames; may cancel.

    Raises:
        ImageError: the source cannot be read.
        OutputExistsError: the target exists and ``overwrite`` is False, or it is the source.
        OutputError: the target's format is unknown, cannot hold the source's streams, cannot be written, or is being
            made by another process.
        InvalidOptionError: a setting makes no sense, or PyAV is not installed.
        CancelledError: progress was cancelled; finished segments are kept.
    """
    settings, progress = settings or VideoSettings(), progress or Progress()
    if target.suffix.lower() in OUTPUTS and is_animation(source):
        refuse_existing(source, target, overwrite=overwrite)
        upscale = settings.frames.upscale
        if isinstance(upscaler, Restorer):  # what was drawn has nothing to restore
            upscaler = upscaler.at(0.0)
        frames = upscale_animation(upscaler, source, target, upscale, overwrite=overwrite, progress=progress)
        return VideoSummary(frames, 0, progress.elapsed)
    container_format(target)
    refuse_existing(source, target, overwrite=overwrite)
    if settings.segment < 1:
        raise InvalidOptionError(f"segments of {settings.segment} frames make no sense: give one or more")
    info = probe(source)
    upscaler = suited_to_video(upscaler, info)
    frames = FrameUpscaler(upscaler, replace(settings.frames, even=True))
    size = frames.output_size((info.width, info.height))
    encoding = choose_encoding(info, target, size, settings.encode)
    if info.alpha and not encoding.yuv.alpha:
        cure = " (the codecs ffv1 and prores keep it)" if info.yuv.alpha else ""
        log.warning("%s: its transparency is not kept: the output is opaque%s", source, cure)
    copied = plan_copies(info, encoding, target, audio=settings.audio, subtitles=settings.subtitles)
    log.info("%s: %d x %d to %d x %d, %s, %s", source, info.width, info.height, *size, encoding.codec.name,
             encoding.yuv.pix_fmt)  # fmt: skip
    parts = _Parts(target)
    with parts.locked():
        parts.open(_fingerprint(upscaler, info, settings, encoding))
        plain = FrameUpscaler(upscaler, replace(settings.frames, even=True, feedback=0.0))  # no memory of transparency
        work = _Work(info, frames, plain, encoding, parts, settings, progress)
        work.run()
        if not parts.files:
            raise ImageError(f"{source}: not a single frame can be decoded, or none lies in the part that is wanted")
        count = parts.frames
        join(info, encoding, parts.files, target, copied, overwrite=overwrite, window=settings.window)
        parts.remove()
    return VideoSummary(count, work.resumed, progress.elapsed)


def _is_ours(name: str) -> bool:
    """A name that a folder of segments holds."""
    known = (_LOCK, _MARK, "next.nut", "next.mov")
    return name in known or _SEGMENT.fullmatch(name) is not None or leftover(name) is not None


class _Parts:
    """The folder of finished segments. Their names tell their order, last PTS and number of frames."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.folder = target.with_name(target.name + ".parts")
        self._mark = self.folder / _MARK

    def open(self, fingerprint: str) -> None:
        """Go on with what is there, or start over.

        Raises:
            OutputError: it cannot be written.
        """
        remove_leftovers(self.folder)
        with output_errors(self.folder):
            if self._mark.is_file() and self._mark.read_text(encoding="ascii", errors="replace") != fingerprint:
                log.info("%s: of other settings or another input; started over", self.folder)
                self._clear()
        if not self._mark.exists():
            with atomic_path(self._mark) as temporary:
                temporary.write_text(fingerprint, encoding="ascii")

    def _clear(self) -> None:
        """Remove all that is ours; the mark last, because a folder without it is taken for somebody else's."""
        remove_ours(self.folder, lambda name: name != _LOCK and _is_ours(name), last=_MARK)

    @contextmanager
    def locked(self) -> Generator[None, None, None]:
        """The folder, which no other process may use meanwhile; gone at the end if nothing is in it.

        Raises:
            OutputExistsError: it is a link, is not ours, or holds something that is not ours.
        """
        with output_errors(self.folder):
            marked = self._mark.is_file()
            refuse_strangers(self.folder, _is_ours if marked else lambda name: name == _LOCK or bool(leftover(name)))
        make_folder(self.folder)
        try:
            with exclusive(self.folder / _LOCK, str(self._target)):
                yield
        finally:
            with suppress(OSError):  # segments to go on with
                self.folder.rmdir()

    @property
    def _found(self) -> list[re.Match[str]]:
        names = sorted(path.name for path in self.folder.iterdir())
        return [match for name in names if (match := _SEGMENT.fullmatch(name))]

    @property
    def files(self) -> list[Path]:
        """Finished segments in their order."""
        return [self.folder / match.string for match in self._found]

    @property
    def frames(self) -> int:
        """Frames in them."""
        return sum(int(match[3]) for match in self._found)

    @property
    def last(self) -> int | None:
        """PTS of the last frame in them."""
        found = self._found
        return int(found[-1][2]) if found else None

    def next_name(self, pts: int, frames: int, container: str) -> Path:
        """Name for a segment that is about to be finished."""
        return self.folder / f"{len(self._found):06}_{pts}_{frames}.{container}"

    def remove(self) -> None:
        """The video is complete."""
        with suppress(OSError):
            self._clear()


class _Work:
    """The frames of a video on their way through decoder, network and encoder."""

    def __init__(
        self,
        info: VideoInfo,
        upscaler: FrameUpscaler,
        plain: FrameUpscaler,
        encoding: Encoding,
        parts: _Parts,
        settings: VideoSettings,
        progress: Progress,
    ) -> None:
        self._info, self._upscaler, self._plain, self._encoding = info, upscaler, plain, encoding
        self._parts, self._segment, self._progress = parts, settings.segment, progress
        self._window = settings.window
        self.resumed = upscaler.done = parts.frames

    def run(self) -> None:
        """Make all segments that are missing."""
        after = self._parts.last
        if after is not None:
            log.info("going on after %d frames of an earlier run", self.resumed)
        self._progress.start(max(0, self._window.frames(self._info) - self.resumed), unit="frames")
        decoded = read_frames(
            self._info, self._upscaler.device, after=after, before=WARM_UP if after else 0, window=self._window
        )
        frames = prefetched(self._new(decoded, after))
        first = next(frames, None)
        while first is not None:
            first = self._one_segment(first, frames)

    def _new(self, decoded: Iterator[Frame], after: int | None) -> Iterator[Frame]:
        for frame in decoded:
            if after is not None and frame.pts <= after:
                self._upscaler.warm_up(frame.image)
            else:
                yield frame

    def _one_segment(self, first: Frame, frames: Iterator[Frame]) -> Frame | None:
        """Write a segment that begins with a frame; returns the first frame of the next one."""
        container = self._encoding.codec.container
        unnamed = self._parts.folder / f"next.{container}"
        with atomic_path(unnamed, overwrite=True) as temporary:
            last, count, following = self._encode(temporary, first, frames)
        with output_errors(unnamed):
            patiently(lambda: unnamed.rename(self._parts.next_name(last, count, container)))
        return following

    def _encode(self, path: Path, first: Frame, frames: Iterator[Frame]) -> tuple[int, int, Frame | None]:
        writer = SegmentWriter(path, self._info, self._encoding)
        frame: Frame | None = first
        last, count = first.pts, 0
        pending: Future[None] | None = None
        with ThreadPoolExecutor(1, "encode") as encoder:
            try:
                while frame is not None and count < self._segment:
                    image, alpha = self._upscaled(frame)
                    if pending is not None:
                        pending.result()
                    pending = encoder.submit(self._write, writer, image, alpha, frame)
                    last, count = frame.pts, count + 1
                    self._progress.advance()
                    frame = next(frames, None)
                if pending is not None:
                    pending.result()
                writer.close()
            except BaseException:
                encoder.shutdown(wait=True)
                writer.abandon()
                raise
        return last, count, frame

    def _upscaled(self, frame: Frame) -> tuple[Tensor, Tensor | None]:
        """Colours and, where the output keeps it, transparency of an enlarged frame."""
        alpha = frame.alpha if self._encoding.yuv.alpha else None
        colours = frame.image if alpha is None else bleed(frame.image, alpha)
        image = self._upscaler(colours, progress=self._progress.part(0))
        if alpha is None:
            return image, None
        if bool(alpha.amin() == alpha.amax()):
            return image, alpha.amin().expand(1, 1, *image.shape[2:])
        large = self._plain(alpha.expand(-1, 3, -1, -1), progress=self._progress.part(0)).mean(dim=1, keepdim=True)
        scale = image.shape[2] // alpha.shape[2]
        if image.shape[2:] == (alpha.shape[2] * scale, alpha.shape[3] * scale):
            large = within_neighbourhood(large, alpha, scale)
        return image, large

    def _write(self, writer: SegmentWriter, image: Tensor, alpha: Tensor | None, frame: Frame) -> None:
        planes = self._encoding.yuv.from_rgb(image)
        if alpha is not None:
            planes.append(self._encoding.yuv.from_alpha(alpha))
        writer.write(planes, frame.pts, frame.duration)


def _fingerprint(upscaler: Upscaler, info: VideoInfo, settings: VideoSettings, encoding: Encoding) -> str:
    """Equal for two runs whose segments go together."""
    state = info.path.stat()
    digest = hashlib.sha256()
    for part in (info.path.resolve(), state.st_size, state.st_mtime_ns, settings.frames, settings.window, encoding):
        digest.update(repr(part).encode())
    digest.update(weights_digest(upscaler).encode())
    return digest.hexdigest()


def weights_digest(upscaler: Upscaler) -> str:
    """Equal for two models of the same weights."""
    digest = hashlib.sha256()
    for parameter in upscaler.subject.network.parameters():
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
