"""Videos through a real network: what is in the file stays in the file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import paragon_arch
from paragon_arch.errors import CancelledError, ImageError, InvalidOptionError, NonFiniteError, OutputError
from paragon_engine.progress import Progress
from paragon_engine.upscale import UpscaleSettings
from paragon_engine.upscaler import Upscaler
from paragon_engine.video import (
    CutDetector,
    EncodeOptions,
    FrameSettings,
    FrameUpscaler,
    VideoSettings,
    has_feedback,
    probe,
    read_frames,
    upscale_frames,
    upscale_video,
)
from paragon_engine.video.mux import decoding_times, moved
from paragon_engine.video.yuv import YuvFormat
from tests.devices import DEVICE
from tests.engine.exact_models import build
from tests.engine_models import checkpoint, damaged, descriptor, network, overflowing, upscaler
from tests.video_files import av, make_video, packets, texture, times

SHORT = VideoSettings(segment=5)
ROOT = Path(__file__).resolve().parent.parent


def stream_of(path: Path) -> dict[str, Any]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return {
            "size": (frame.width, frame.height),
            "format": frame.format.name,
            "tags": tuple(map(int, (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range))),
            "title": container.metadata.get("title"),
            "chapters": [chapter["metadata"].get("title") for chapter in container.chapters()],
            "languages": [stream.language for stream in container.streams.audio],
        }


@pytest.mark.parametrize(
    ("name", "options", "target"),
    [
        ("a.mp4", {"variable": True}, "out.mp4"),
        ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p"}, "out.mkv"),
        ("a.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}, "out.mov"),
        ("a.mkv", {"codec": "libvpx-vp9", "sound": False}, "out.webm"),
    ],
)
def test_times_sound_and_descriptions_are_kept(tmp_path: Path, name: str, options: dict[str, Any], target: str) -> None:
    source, result = make_video(tmp_path / name, **options), tmp_path / target
    summary = upscale_video(upscaler(), source, result, SHORT)
    assert (summary.frames, summary.resumed) == (14, 0)
    assert times(result) == times(source)
    if options.get("sound", True):
        assert packets(result, "audio") == packets(source, "audio")
        assert stream_of(result)["languages"] == stream_of(source)["languages"]
    found = stream_of(result)
    assert found["size"] == (128, 96)
    assert (found["title"], found["chapters"]) == ("A title", ["One"])
    assert found["format"] == options.get("pix_fmt", "yuv420p")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, target])


def test_ten_bits_and_colour_tags_are_kept(tmp_path: Path) -> None:
    tags = (9, 16, 9, 1)  # BT.2020, PQ
    quiet = {"x265-params": "log-level=none"}
    source = make_video(tmp_path / "a.mkv", 5, codec="libx265", pix_fmt="yuv420p10le", tags=tags, options=quiet)
    for target in ("b.mkv", "b.mp4"):
        upscale_video(upscaler(), source, tmp_path / target, SHORT)
        found = stream_of(tmp_path / target)
        assert (found["format"], found["tags"]) == ("yuv420p10le", tags)


def test_an_untagged_small_video_is_tagged_as_players_took_it(tmp_path: Path) -> None:
    """Untagged and large, it would be taken for BT.709 and change its colours."""
    source = make_video(tmp_path / "a.mp4", 3, sound=False)
    upscale_video(upscaler(), source, tmp_path / "b.mp4", SHORT)
    assert stream_of(source)["tags"][2] == 2
    assert stream_of(tmp_path / "b.mp4")["tags"][2] == 6


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied_once(tmp_path: Path, rotation: int) -> None:
    source = make_video(tmp_path / "a.mp4", 2, rotation=rotation, sound=False, options={"crf": "5"})
    upright = make_video(tmp_path / "u.mp4", 2, sound=False, options={"crf": "5"})
    turned, plain = (next(read_frames(probe(path), DEVICE)).image for path in (source, upright))
    assert torch.equal(turned, torch.rot90(plain, rotation // 90, (2, 3)))
    upscale_video(upscaler(), source, tmp_path / "b.mp4", SHORT)
    assert stream_of(tmp_path / "b.mp4")["size"] == ((96, 128) if rotation != 180 else (128, 96))
    assert probe(tmp_path / "b.mp4").rotation == 0


def test_subtitles_are_kept_or_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,400\nHello\n", encoding="utf-8")
    source = make_video(tmp_path / "a.mkv", 5, subtitles=tmp_path / "s.srt")
    upscale_video(upscaler(), source, tmp_path / "b.mkv", SHORT)
    assert packets(tmp_path / "b.mkv", "subtitle") == packets(source, "subtitle")
    with pytest.raises(OutputError, match=r"--no-subtitles"):
        upscale_video(upscaler(), source, tmp_path / "b.mp4", SHORT)
    upscale_video(upscaler(), source, tmp_path / "b.mp4", VideoSettings(subtitles=False))
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.subtitles
        assert container.streams.audio


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("sub", [(1, 1), (2, 1), (2, 2), None])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_survive_the_way_to_rgb_and_back(bits: int, sub: tuple[int, int] | None, full_range: bool) -> None:
    yuv = YuvFormat(bits, sub, 1, full_range)
    small = torch.from_numpy(texture(32, 48)).permute(2, 0, 1)[None] / 255 * 0.8 + 0.1
    rgb = F.interpolate(small, scale_factor=4, mode="bilinear")  # chroma that half its samples can hold
    planes = yuv.from_rgb(rgb)
    again = yuv.from_rgb(yuv.to_rgb(planes, DEVICE))
    assert len(planes) == (1 if sub is None else 3)
    for first, second in zip(planes, again, strict=True):
        lost = np.abs(first.astype(int) - second.astype(int)).max()
        assert lost <= (1 if sub in ((1, 1), None) else 2 ** (bits - 8) * 2)
    assert np.abs(planes[0].astype(int) - again[0].astype(int)).max() <= 1


def test_colours_agree_with_ffmpeg(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mkv", 1, codec="ffv1", pix_fmt="yuv444p", sound=False, tags=(1, 1, 1, 1))
    ours = next(read_frames(probe(source), DEVICE)).image[0].permute(1, 2, 0).cpu().numpy() * 255
    with av.open(str(source)) as container:
        theirs = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(ours - theirs).max() < 3


def scene(seed: int) -> Tensor:
    return torch.from_numpy(texture(72, 256, seed)).permute(2, 0, 1)[None].float() / 255


def cuts(frames: list[Tensor]) -> list[int]:
    detector = CutDetector()
    return [index for index, frame in enumerate(frames) if detector(frame)]


A, B = scene(1), scene(2)


def fade(frames: int = 25) -> list[Tensor]:
    return [A[..., :128] * (1 - index / (frames - 1)) for index in range(frames)]


def dissolve(frames: int = 25) -> list[Tensor]:
    return [A[..., :128] * (1 - i / (frames - 1)) + B[..., :128] * i / (frames - 1) for i in range(frames)]


def grain(seed: int) -> Tensor:
    return torch.rand(1, 3, 72, 128, generator=torch.Generator().manual_seed(seed)) * 0.04


SEQUENCES: dict[str, tuple[list[Tensor], list[int]]] = {
    "a hard cut": ([A[..., :128]] * 5 + [B[..., :128]] * 5, [0, 5]),
    "a cut between scenes of equal brightness": (
        [A[..., :128]] * 4 + [B[..., :128] - B[..., :128].mean() + A[..., :128].mean()] * 4,
        [0, 4],
    ),
    "a pan": ([A[..., 4 * i : 4 * i + 128] for i in range(25)], [0]),
    "a fade to black": (fade(), [0]),
    "a fade from black": (fade()[::-1], [0]),
    "a dissolve of a second": (dissolve(), [0]),
    "a flash, which must not shine on": (
        [A[..., :128]] * 4 + [A[..., :128] * 0.2 + 0.8] + [A[..., :128]] * 4,
        [0, 4, 5],
    ),
    "noise in the dark": ([grain(seed) for seed in range(6)], [0]),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_cuts(name: str) -> None:
    frames, expected = SEQUENCES[name]
    assert cuts(frames) == expected


def test_feedback_is_the_layouts_own_hook() -> None:
    """Blending the frames gives what blending the features gives, for several frames."""
    model, net = upscaler(), network()
    frames = [A[..., :40, i : i + 48] for i in range(4)]
    run = FrameUpscaler(model, FrameSettings(feedback=0.2))
    features: Tensor | None = None
    for frame in frames:
        with torch.no_grad():
            expected, features = net(frame, features, feature_tap=True, blend=0.2)
        assert torch.allclose(run(frame), expected.clamp(0, 1), atol=1e-5)


def test_feedback_calms_noise_and_starts_anew_at_a_cut() -> None:
    still = A[..., :48, :64]
    noisy = [
        (still + 0.03 * torch.randn(still.shape, generator=torch.Generator().manual_seed(i))).clamp(0, 1)
        for i in range(8)
    ]
    plain, steady = (
        torch.cat(list(upscale_frames(upscaler(alpha=0.0), noisy, FrameSettings(feedback=weight))))
        for weight in (0.0, 0.5)
    )
    detail = [frames - network(alpha=0.0).base(torch.cat(noisy)).clamp(0, 1) for frames in (plain, steady)]
    flicker = [float((item[3:] - item[2:-1]).abs().mean()) for item in detail]
    assert flicker[1] < flicker[0]
    run = FrameUpscaler(upscaler(), FrameSettings(feedback=0.5))
    run(A[..., :48, :64])
    after = run(B[..., :48, :64])
    assert torch.equal(after, FrameUpscaler(upscaler(), FrameSettings(feedback=0.5))(B[..., :48, :64]))


def test_only_layouts_with_the_hook_have_feedback() -> None:
    model = Upscaler(paragon_arch.load(build("v1-pixelshuffle").state_dict(), scale=2))
    assert has_feedback(upscaler())
    assert not has_feedback(model)
    with pytest.raises(InvalidOptionError, match="feedback"):
        FrameUpscaler(model, FrameSettings(feedback=0.2))


def test_a_frame_that_overflows_is_computed_again_as_are_those_after_it(caplog: pytest.LogCaptureFixture) -> None:
    model, frame = overflowing(descriptor()), A[..., :20, :30]
    run = FrameUpscaler(Upscaler(model, precision="fp16"))
    for _ in range(3):
        assert (run(frame) - model(frame)).abs().max() <= 0.05  # BF16 has eight bits
    assert caplog.text.count("overflowed in fp16") == 1


@pytest.mark.parametrize("feedback", [0.0, 0.2])
def test_a_damaged_model_is_an_error_that_names_the_frame(feedback: float) -> None:
    run = FrameUpscaler(Upscaler(damaged(descriptor())), FrameSettings(feedback=feedback))
    run.done = 6
    with pytest.raises(NonFiniteError, match="frame 7: the model gives NaN or infinity even in fp32"):
        run(A[..., :20, :30])


def test_a_damaged_model_leaves_no_video(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    with pytest.raises(NonFiniteError, match="frame 1: "):
        upscale_video(Upscaler(damaged(descriptor())), source, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_nan_in_a_frame_is_black_and_named(caplog: pytest.LogCaptureFixture) -> None:
    frame = A[..., :20, :30].clone()
    clean = frame.clone()
    frame[..., 3, 4], clean[..., 3, 4] = float("nan"), 0
    run = FrameUpscaler(upscaler())
    assert torch.equal(run(frame), run(clean))
    assert "frame 1: 3 values are NaN or infinite; they are replaced by 0" in caplog.text


def lossless(**changes: Any) -> VideoSettings:
    return VideoSettings(frames=FrameSettings(feedback=0.2), encode=EncodeOptions("ffv1"), segment=4, **changes)


class Stopping(Progress):
    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def advance(self, amount: float = 1.0, *, label: str | None = None) -> None:
        super().advance(amount, label=label)
        if self.done >= self._after:
            self.cancel()


def test_an_interrupted_video_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", 14, sound=False, options={"g": "6"})
    upscale_video(upscaler(), source, tmp_path / "whole.mkv", lossless())
    with pytest.raises(CancelledError):
        upscale_video(upscaler(), source, tmp_path / "b.mkv", lossless(), progress=Stopping(10))
    assert not (tmp_path / "b.mkv").exists()
    summary = upscale_video(upscaler(), source, tmp_path / "b.mkv", lossless())
    assert (summary.frames, summary.resumed) == (14, 8)
    assert times(tmp_path / "b.mkv") == times(tmp_path / "whole.mkv")
    resumed, whole = (
        [frame.image for frame in read_frames(probe(tmp_path / name), DEVICE)] for name in ("b.mkv", "whole.mkv")
    )
    assert all(float((a - b).abs().max()) < 1.5 / 255 for a, b in zip(resumed, whole, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mkv", "whole.mkv"]


def test_other_settings_start_over(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", 8, sound=False)
    with pytest.raises(CancelledError):
        upscale_video(upscaler(), source, tmp_path / "b.mkv", lossless(), progress=Stopping(6))
    other = VideoSettings(frames=FrameSettings(UpscaleSettings(outscale=1.0)), encode=EncodeOptions("ffv1"))
    assert upscale_video(upscaler(), source, tmp_path / "b.mkv", other).resumed == 0
    assert stream_of(tmp_path / "b.mkv")["size"] == (64, 48)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_video_goes_on(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", 40, sound=False)
    model = checkpoint(tmp_path / "2x.safetensors")
    target = tmp_path / "b.mkv"
    command = [sys.executable, "-m", "deploy", "video", source, "-o", target, "--model", model, "--segment", "4"]
    with subprocess.Popen([*map(str, command)], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("b.mkv.parts/00*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    if target.exists():
        pytest.skip("the machine was faster than the signal")
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "of an earlier run" in done.stderr
    assert times(target) == times(source)


Bad = Callable[[Path], object]
BAD: dict[str, Bad] = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "no video": lambda path: path.write_bytes(b"not a video" * 100),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_videos_give_one_typed_error(tmp_path: Path, kind: str) -> None:
    BAD[kind](tmp_path / "bad.mp4")
    with pytest.raises(ImageError, match=r"bad\.mp4"):
        upscale_video(upscaler(), tmp_path / "bad.mp4", tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("target", "options", "error"),
    [
        ("out.avi", EncodeOptions(), OutputError),
        ("out.webm", EncodeOptions("h264"), InvalidOptionError),
        ("out.mp4", EncodeOptions("h266"), InvalidOptionError),
        ("out.mkv", EncodeOptions("ffv1", crf=3), InvalidOptionError),
        ("out.mov", EncodeOptions("ffv1"), OutputError),
    ],
)
def test_senseless_outputs_are_refused_before_the_work(
    tmp_path: Path, target: str, options: EncodeOptions, error: type[Exception]
) -> None:
    source = make_video(tmp_path / "a.mp4", 2, sound=False)
    with pytest.raises(error):
        upscale_video(upscaler(), source, tmp_path / target, VideoSettings(encode=options))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_decoding_times_rise_and_never_come_after_the_picture() -> None:
    stamps = [0, 90, 30, 60, 200, 110, 150]  # I P B B P B B with uneven steps
    found = list(decoding_times(stamps))
    assert all(a < b for a, b in pairwise(found))
    assert all(dts <= pts for dts, pts in zip(found, stamps, strict=True))
    assert list(decoding_times([5, 6, 9])) == [5, 6, 9]


def test_sound_that_the_container_cannot_hold_is_refused_before_the_work(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", 5)
    pcm = tmp_path / "pcm.mkv"
    with av.open(str(source)) as given, av.open(str(pcm), "w") as container:
        video = container.add_stream_from_template(given.streams.video[0])
        sound = container.add_stream("pcm_s24be", rate=44100, layout="stereo")
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int32), format="s32", layout="stereo")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    before = set(tmp_path.iterdir())
    with pytest.raises(OutputError, match="--no-audio"):
        upscale_video(upscaler(), pcm, tmp_path / "b.webm", SHORT)
    assert set(tmp_path.iterdir()) == before
    upscale_video(upscaler(), pcm, tmp_path / "b.mkv", SHORT)
    assert packets(tmp_path / "b.mkv", "audio") == packets(pcm, "audio")


def late(path: Path, start: int = 90_000 * 3600) -> Path:
    """A transport stream whose clock begins at an hour, with sound that begins a little later, made by PyAV."""
    source = make_video(path.with_suffix(".mp4"), 8)
    with av.open(str(source)) as given, av.open(str(path), "w", format="mpegts") as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is None:
                continue
            shift = round(start / 90_000 / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = streams[packet.stream.index]
            container.mux(packet)
    return path


@pytest.mark.parametrize("target", ["b.mp4", "b.mkv"])
def test_times_of_a_recording_begin_at_zero(tmp_path: Path, target: str) -> None:
    source = late(tmp_path / "a.ts")
    upscale_video(upscaler(), source, tmp_path / target, SHORT)
    was, now = times(source), times(tmp_path / target)
    sound_was, sound_now = ([time for time, _ in packets(path, "audio")] for path in (source, tmp_path / target))
    offset = min(was[0], sound_was[0])
    assert offset > 3000
    assert min(now[0], sound_now[0]) == 0
    assert all(abs(a - offset - b) < 0.002 for a, b in zip(was, now, strict=True))
    assert abs((was[0] - sound_was[0]) - (now[0] - sound_now[0])) < 0.002


def test_chapters_move_with_the_times() -> None:
    chapter = {"id": 1, "start": 5000, "end": 9000, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}
    assert moved(chapter, Fraction(3)) == {**chapter, "start": 2000, "end": 6000}
    assert moved(chapter, Fraction(7)) == {**chapter, "start": 0, "end": 2000}


def test_a_second_video_is_copied_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = make_video(tmp_path / "a.mp4", 5, sound=False)
    double = tmp_path / "double.mkv"
    with av.open(str(source)) as given, av.open(str(double), "w") as container:
        streams = [container.add_stream_from_template(given.streams.video[0]) for _ in range(2)]
        held = [packet for packet in given.demux() if packet.dts is not None]
        for packet in held:
            packet.stream = streams[0]
            container.mux(packet)
        with av.open(str(source)) as again:
            for packet in again.demux():
                if packet.dts is not None:
                    packet.stream = streams[1]
                    container.mux(packet)
    with caplog.at_level("WARNING", "paragonsr"):
        upscale_video(upscaler(), double, tmp_path / "b.mkv", SHORT)
    assert "only the first video is enlarged" in caplog.text
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert [stream.codec_context.width for stream in container.streams.video] == [128, 64]


def test_damaged_packets_of_the_video_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = make_video(tmp_path / "a.mkv", 12, codec="ffv1", sound=False)
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        middle = bytes([packet for packet in container.demux(video=0) if packet.size][6])
    at = data.index(middle)
    data[at : at + len(middle)] = bytes(len(middle))
    (tmp_path / "b.mkv").write_bytes(data)
    with caplog.at_level("WARNING", "paragonsr"):
        frames = list(read_frames(probe(tmp_path / "b.mkv"), DEVICE))
    assert 10 <= len(frames) <= 12
    assert len(frames) == 12 or "damaged packets of its video" in caplog.text


def test_transparency_that_is_not_kept_is_told_and_not_claimed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_video(tmp_path / "a.mkv", 3, codec="ffv1", pix_fmt="yuva420p", sound=False)
    options = VideoSettings(encode=EncodeOptions("h264"))
    with caplog.at_level("WARNING", "paragonsr"):
        upscale_video(upscaler(), source, tmp_path / "b.mkv", options)
    assert probe(source).alpha
    assert "transparency is not kept" in caplog.text
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert not any(key.lower() == "alpha_mode" for key in container.streams.video[0].metadata)


@pytest.mark.parametrize(("codec", "kind"), [("ffv1", "yuva420p"), ("ffv1", "yuva444p10le"), ("prores", "yuva420p")])
def test_transparency_is_kept_where_the_codec_can(tmp_path: Path, codec: str, kind: str) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, kind
        for index in range(3):
            rgba = np.zeros((48, 64, 4), np.uint8)
            rgba[10:30, 10 + index : 40 + index] = (200, 100, 50, 255)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=kind)))
        container.mux(stream.encode(None))
    upscale_video(upscaler(), source, tmp_path / "b.mkv", VideoSettings(encode=EncodeOptions(codec), segment=2))
    with av.open(str(tmp_path / "b.mkv")) as container:
        frames = [frame.to_ndarray(format="rgba")[..., 3] for frame in container.decode(video=0)]
    assert len(frames) == 3
    for index, alpha in enumerate(frames):
        assert alpha[4, 4] <= 1
        assert alpha[40, 2 * (index + 25)] >= 254


ANIMATIONS = {"a.gif": "GIF", "a.webp": "WEBP", "a.png": "PNG"}


def animation(path: Path, frames: int = 3) -> Path:
    """Squares that move over nothing, shown for different times."""
    pictures: list[Image.Image] = []
    for index in range(frames):
        picture = Image.new("RGBA", (32, 24), (0, 0, 0, 0))
        picture.paste((200, 40 * index, 30, 255), (4 + 4 * index, 6, 16 + 4 * index, 18))
        pictures.append(picture)
    options: dict[str, Any] = {"disposal": 2} if path.suffix == ".gif" else {}
    if path.suffix == ".webp":
        options["lossless"] = True
    durations = [100, 200, 300][:frames]
    pictures[0].save(
        path, ANIMATIONS[path.name], save_all=True, append_images=pictures[1:], duration=durations, loop=0, **options
    )
    if path.suffix == ".webp":  # as editors write it: the encoder looks at what is drawn alone
        data = bytearray(path.read_bytes())
        data[20] |= 0x10
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("source", ANIMATIONS)
@pytest.mark.parametrize("target", ["b.webp", "b.apng", "b.gif"])
def test_animations_keep_transparency_and_times(tmp_path: Path, source: str, target: str) -> None:
    given = animation(tmp_path / source)
    summary = upscale_video(upscaler(), given, tmp_path / target)
    assert summary.frames == 3
    opened: Any = Image.open(tmp_path / target)
    with opened as image:
        assert (image.n_frames, image.size, image.info.get("loop")) == (3, (64, 48), 0)
        for index, duration in enumerate((100, 200, 300)):
            image.seek(index)
            image.load()
            assert image.info["duration"] == duration
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
            assert alpha[2, 2] == 0
            assert alpha[24, 20 + 8 * index] == 255


def test_animations_become_videos_too_and_videos_no_animations(tmp_path: Path) -> None:
    upscale_video(upscaler(), animation(tmp_path / "a.gif"), tmp_path / "b.mp4", SHORT)
    assert len(times(tmp_path / "b.mp4")) == 3
    with pytest.raises(OutputError, match="animations alone"):
        upscale_video(upscaler(), make_video(tmp_path / "a.mp4", 2), tmp_path / "b.gif")
