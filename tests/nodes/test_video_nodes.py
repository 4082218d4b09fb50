"""Upscale Video and Upscale Video Frames, with real models and files."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from tests.nodes.stand_in import Host, Interrupted, VideoFromFile, foreign_model
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
    source = VideoFromFile(io.BytesIO(path.read_bytes()) if in_memory else str(path))
    (result,) = UpscaleVideo().upscale(descriptor(), source, **WIDGETS, **ENCODING)
    target = result.get_stream_source()
    assert isinstance(target, str)
    assert Path(target).parent == host.base / "temp"
    with opened(target) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert [frame.shape for frame in decoded] == [(128, 128, 3)] * 3
    assert [file.name for file in (host.base / "temp").iterdir()] == [Path(target).name]


def test_a_cancelled_video_goes_on_where_it_was(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "paragonsr")
    monkeypatch.setattr(upscale_video, "SEGMENT", 2)
    node, source = UpscaleVideo(), VideoFromFile(str(video(tmp_path / "in.mp4", 6)))
    node.upscale(descriptor(), VideoFromFile(str(video(tmp_path / "other.mp4", 6))), **WIDGETS, **ENCODING)
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
