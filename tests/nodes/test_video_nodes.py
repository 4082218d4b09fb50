"""Upscale Video and Upscale Video Frames, with real models and files."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nodes import upscale_video
from nodes.upscale_frames import UpscaleFrames
from nodes.upscale_video import UpscaleVideo
from paragon_arch.errors import NonFiniteError
from paragon_engine import Upscaler
from paragon_engine.video import FrameSettings, upscale_frames
from tests.engine_models import damaged, descriptor
from tests.nodes.stand_in import Host, Interrupted, VideoFromComponents, VideoFromFile, foreign_model
from tests.nodes.test_upscale_node import WIDGETS, upscale

ENCODING: dict[str, Any] = {"feedback": 0.0, "container": "mp4", "codec": "auto", "quality": -1}


def frames(count: int, *, side: int = 32) -> Tensor:
    """A picture that moves by a pixel a frame."""
    torch.manual_seed(0)
    wide = torch.rand(1, 3, side // 4, side // 2)
    wide = torch.nn.functional.interpolate(wide, scale_factor=4, mode="bicubic").clamp(0, 1)[0].movedim(0, -1)
    return torch.stack([wide[:, index : index + side] for index in range(count)])


@pytest.mark.usefixtures("host")
def test_frames_without_feedback_are_the_pictures_of_a_batch() -> None:
    model, images = descriptor(), frames(3)
    (result,) = UpscaleFrames().upscale(model, images, **WIDGETS, feedback=0.0)
    torch.testing.assert_close(result, upscale(model, images)[0], rtol=0, atol=1e-6)


def test_feedback_is_the_engines_and_ignored_where_there_is_none(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    model, images = descriptor(), frames(3)
    (result,) = UpscaleFrames().upscale(model, images, **WIDGETS, feedback=0.2)
    expected = torch.cat(list(upscale_frames(Upscaler(model), images.movedim(-1, 1), FrameSettings(feedback=0.2))))
    torch.testing.assert_close(result, expected.movedim(1, -1), rtol=0, atol=1e-5)
    assert [value for value, _, _ in host.shown][-1] == 1000
    foreign = foreign_model()
    (plain,) = UpscaleFrames().upscale(foreign, images, **WIDGETS, feedback=0.2)
    torch.testing.assert_close(plain, upscale(foreign, images)[0], rtol=0, atol=1e-6)
    assert "no temporal feedback" in caplog.text


@pytest.mark.usefixtures("host")
def test_a_damaged_model_is_an_error_that_names_the_frame() -> None:
    with pytest.raises(NonFiniteError, match="frame 1: the model gives NaN"):
        UpscaleFrames().upscale(damaged(descriptor()), frames(2), **WIDGETS, feedback=0.0)


@contextmanager
def opened(file: str | io.BytesIO) -> Generator[Any]:
    av = pytest.importorskip("av")
    with av.open(file) as container:
        yield container


def video(path: Path, count: int, *, side: int = 64) -> Path:
    """A file with ``count`` frames and a second of sound."""
    av: Any = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=side, height=side, pix_fmt="yuv420p")
        sound = container.add_stream("aac", rate=8000, layout="mono")
        for image in frames(count, side=side):
            picture = av.VideoFrame.from_ndarray((image.numpy() * 255).astype("uint8"), format="rgb24")
            container.mux(stream.encode(picture))
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.sample_rate = 8000
        silence.planes[0].update(bytes(4096))
        container.mux(sound.encode(silence))
        for item in (stream, sound):
            container.mux(item.encode(None))
    return path


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_video_keeps_its_frames_and_sound(host: Host, tmp_path: Path, in_memory: bool) -> None:
    path = video(tmp_path / "in.mp4", 3)
    source: Any = VideoFromFile(io.BytesIO(path.read_bytes()) if in_memory else str(path))
    (result,) = UpscaleVideo().upscale(descriptor(), source, **WIDGETS, **ENCODING)
    target = result.get_stream_source()
    assert isinstance(target, str)
    assert Path(target).parent == host.base / "temp"
    with opened(target) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert [frame.shape for frame in decoded] == [(128, 128, 3)] * 3
    assert [file.name for file in (host.base / "temp").iterdir()] == [Path(target).name]


def decoded(path: str) -> tuple[list[Any], list[str], str]:
    """Frames, kinds of streams, and the pixel format of a video."""
    with opened(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return frames, [stream.type for stream in container.streams], container.streams.video[0].pix_fmt


@pytest.mark.usefixtures("host")
def test_a_trimmed_video_is_that_part(tmp_path: Path) -> None:
    path = str(video(tmp_path / "in.mp4", 20))
    whole, _, _ = decoded(upscaled(VideoFromFile(path)))
    part, _, _ = decoded(upscaled(VideoFromFile(path, start_time=0.5, duration=1.0)))
    assert (len(whole), len(part)) == (20, 10)
    differences = [float(abs(part[0].astype(int) - frame).mean()) for frame in whole]
    assert int(np.argmin(differences)) == 5
    with opened(upscaled(VideoFromFile(path, start_time=0.5, duration=1.0))) as container:
        assert next(container.decode(video=0)).time < 0.05  # begins with itself


def upscaled(source: Any, **encoding: Any) -> str:
    (result,) = UpscaleVideo().upscale(descriptor(), source, **WIDGETS, **(ENCODING | encoding))
    target = result.get_stream_source()
    assert isinstance(target, str)
    return target


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_pictures_and_sound_of_create_video_are_taken_as_they_are(container: str) -> None:
    images = frames(5, side=64)
    sound = {"waveform": torch.zeros(1, 2, 8000), "sample_rate": 16000}
    target = upscaled(VideoFromComponents(images, sound, 10), container=container)
    result, kinds, form = decoded(target)
    assert (len(result), kinds, form) == (5, ["video", "audio"], "yuv420p")  # what browsers play
    exact = upscale(descriptor(), images)[0]
    with opened(upscaled(VideoFromComponents(images, None, 10), container="mkv", codec="ffv1")) as lossless:
        kept = [frame.to_ndarray(format="rgb24") for frame in lossless.decode(video=0)]
    luma = torch.tensor([0.2126, 0.7152, 0.0722])
    for got, wanted in zip(kept, exact, strict=True):  # only the subsampling of chroma is between them
        error = (torch.from_numpy(got) / 255 @ luma - wanted.clamp(0, 1) @ luma).abs().mean()
        assert error < 0.02
    with opened(target) as opened_target:
        assert opened_target.streams.video[0].codec_context.name.endswith("vp9" if container == "webm" else "h264")


@pytest.mark.usefixtures("host")
def test_what_players_do_not_expect_in_an_mp4_is_encoded_as_h264(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    path = tmp_path / "in.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for image in frames(2, side=64):
            picture = av.VideoFrame.from_ndarray((image.numpy() * 255).astype("uint8"), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    for container, codec in (("mp4", "h264"), ("mkv", "vp9")):
        with opened(upscaled(VideoFromFile(str(path)), container=container)) as result:
            assert codec in result.streams.video[0].codec_context.name


def test_a_cancelled_video_goes_on_where_it_was(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "paragonsr")
    monkeypatch.setattr(upscale_video, "SEGMENT", 2)
    node = UpscaleVideo()
    source: Any = VideoFromFile(str(video(tmp_path / "in.mp4", 6)))
    other: Any = VideoFromFile(str(video(tmp_path / "other.mp4", 6)))
    node.upscale(descriptor(), other, **WIDGETS, **ENCODING)
    host.checks_left = -host.checks_left * 2 // 3  # looks at the button until two thirds are done
    with pytest.raises(Interrupted):
        node.upscale(descriptor(), source, **WIDGETS, **ENCODING)
    host.checks_left = -1
    (result,) = node.upscale(descriptor(), source, **WIDGETS, **ENCODING)
    target = result.get_stream_source()
    assert isinstance(target, str)
    assert "going on after" in caplog.text
    with opened(target) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6


@pytest.mark.usefixtures("host")
def test_two_models_on_one_video_are_two_files(tmp_path: Path) -> None:
    """The second does not replace what the first gave on."""
    from nodes.video_input import Source, target_for
    from paragon_engine.video import Window

    source = Source(tmp_path / "in.mp4", Window(0.0, None), "in.mp4")
    names = {target_for(source, "settings", "mp4", model).name for model in ("one", "one", "another")}
    assert len(names) == 2
