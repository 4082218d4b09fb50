"""What makes low-resolution pictures look like those that people have: blur, noise and lossy compression.

All functions take and return ``(H, W, 3)`` 8-bit RGB and draw from the generator they are given.
"""

from __future__ import annotations

import io
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image

from paragon_arch.errors import InvalidOptionError

from ..config import DegradeConfig
from .pictures import Pixels, resize

KERNELS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
"""Antialiased reducing kernels of Pillow, by their names in recipes."""
DECODERS = {"libx264": "h264", "libx265": "hevc"}
"""Decoder of each encoder whose name differs."""


class Degradation:
    """The pipeline of a recipe: blur, reduction, noise, video, JPEG, WebP.

    Raises:
        InvalidOptionError: video is asked for, and PyAV or one of the codecs is not there.
    """

    def __init__(self, config: DegradeConfig) -> None:
        self.config = config
        if config.video > 0:
            for codec in config.video_codecs:
                compress_video(np.zeros((32, 32, 3), np.uint8), codec, config.video_crf[1])

    def __call__(self, high: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
        """The low-resolution picture of a high-resolution one."""
        config = self.config
        if rng.random() < config.blur:
            across, down = rng.uniform(*config.blur_sigma, size=2)
            high = blur(high, float(across), float(down))
        kernel = KERNELS[config.kernels[int(rng.integers(len(config.kernels)))]]
        low = resize(high, (high.shape[0] // scale, high.shape[1] // scale), kernel)
        if rng.random() < config.noise:
            low = add_noise(low, float(rng.uniform(*config.noise_sigma)), rng.random() < config.grey_noise, rng)
        return self._compress(low, rng)

    def _compress(self, low: Pixels, rng: np.random.Generator) -> Pixels:
        config = self.config
        if rng.random() < config.video:
            codec = config.video_codecs[int(rng.integers(len(config.video_codecs)))]
            low = compress_video(low, codec, _between(config.video_crf, rng))
        if rng.random() < config.jpeg:
            low = compress(low, "JPEG", _between(config.jpeg_quality, rng))
        if rng.random() < config.webp:
            low = compress(low, "WEBP", _between(config.webp_quality, rng))
        return low


def _between(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def blur(image: Pixels, across: float, down: float) -> Pixels:
    """Gaussian blur with a standard deviation along each axis, borders repeated."""
    result = image.astype(np.float32)
    for axis, sigma in ((1, across), (0, down)):
        reach = max(1, round(3 * sigma))
        taps = np.exp(-np.square(np.arange(-reach, reach + 1) / max(sigma, 1e-3)) / 2)
        taps /= taps.sum()
        padding = [(reach, reach) if axis == i else (0, 0) for i in range(3)]
        padded = np.pad(result, padding, mode="edge")
        length = result.shape[axis]
        result = np.sum([t * padded.take(range(i, i + length), axis=axis) for i, t in enumerate(taps)], axis=0)
    return _rounded(result)


def add_noise(image: Pixels, sigma: float, grey: bool, rng: np.random.Generator) -> Pixels:
    """Gaussian noise, or as often noise whose variance grows with brightness, ``sigma`` 8-bit steps at full white."""
    shape = (*image.shape[:2], 1 if grey else 3)
    noise = rng.normal(0.0, sigma, size=shape)
    if rng.random() < 0.5:
        noise = noise * np.sqrt(image.mean(axis=2, keepdims=True) / 255)
    return _rounded(image + noise)


def _rounded(values: Any) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def compress(image: Pixels, form: str, quality: int) -> Pixels:
    """Through a still-picture encoder of Pillow and back: "JPEG" or "WEBP"."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, form, quality=quality)
    decoded = Image.open(stream)
    with decoded:
        return np.asarray(decoded.convert("RGB"))


def compress_video(image: Pixels, codec: str, crf: int) -> Pixels:
    """Through a video encoder as a key frame and back, 4:2:0; odd sides are padded meanwhile.

    Args:
        image: a picture.
        codec: an encoder of FFmpeg: "libx264", "libx265", "mpeg4", "mpeg2video", ...
        crf: constant rate factor, larger is worse; others than x264 and x265 get the quantiser (crf - 8) / 2.

    Raises:
        InvalidOptionError: PyAV is not installed, or it has no such encoder.
    """
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    try:
        av: Any = import_module("av")
        packets = _encode(av, padded, codec, crf)
        decoder = av.CodecContext.create(DECODERS.get(codec, codec), "r")
        frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
        return frames[0].to_ndarray(format="rgb24")[:height, :width]
    except ImportError as error:
        raise InvalidOptionError('degrade.video needs PyAV: pip install -e ".[train]"') from error
    except ValueError as error:  # PyAV's own errors are among them
        raise InvalidOptionError(f"degrade.video_codecs: {codec} cannot be used here ({error})") from error


def _encode(av: Any, image: Pixels, codec: str, crf: int) -> list[Any]:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    if codec in DECODERS:
        encoder.options = {"crf": str(crf), "preset": "veryfast", "x265-params": "log-level=none"}
        if codec == "libx264":
            del encoder.options["x265-params"]
    else:
        quantiser = str(max(1, min(31, (crf - 8) // 2)))
        encoder.options = {"qmin": quantiser, "qmax": quantiser}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p")
    frame.pts = 0
    return [*encoder.encode(frame), *encoder.encode(None)]
