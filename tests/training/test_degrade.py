"""The degradation pipeline: every step does what it says, and nothing more."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from paragon_arch.errors import InvalidOptionError
from training.config import DegradeConfig
from training.data.degrade import Degradation, add_noise, blur, compress, compress_video
from training.data.pairs import downscale, edge_strength
from training.data.pictures import Pixels, synthetic_image

IMAGE = synthetic_image(64, 3)
FLAT = np.full((32, 48, 3), 128, np.uint8)


def difference(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def test_without_degradation_only_the_reduction_is_left() -> None:
    assert np.array_equal(Degradation(DegradeConfig())(IMAGE, 2, np.random.default_rng(0)), downscale(IMAGE, 2))


def test_everything_at_once_is_a_function_of_the_generator() -> None:
    config = DegradeConfig(blur=1, noise=1, jpeg=1, webp=1, video=1, kernels=("box", "lanczos"))
    run = Degradation(config)
    first, again = (run(IMAGE, 2, np.random.default_rng(4)) for _ in range(2))
    assert first.shape == (32, 32, 3)
    assert np.array_equal(first, again)
    assert difference(first, run(IMAGE, 2, np.random.default_rng(5))) > 0.5
    assert 2 < difference(first, downscale(IMAGE, 2)) < 60


def test_blur_keeps_flat_areas_and_weakens_edges_along_its_axis() -> None:
    assert np.array_equal(blur(FLAT, 2.0, 0.5), FLAT)
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 200
    assert edge_strength(blur(stripes, 2.0, 0.01)) < 5
    assert np.array_equal(blur(stripes, 0.01, 2.0), stripes)


def test_noise_has_the_strength_asked_for() -> None:
    rng = np.random.default_rng(0)
    grey = [add_noise(FLAT, 8.0, True, rng) for _ in range(8)]
    assert all(np.array_equal(noisy[..., 0], noisy[..., 2]) for noisy in grey)
    colour = add_noise(FLAT, 8.0, False, rng)
    assert not np.array_equal(colour[..., 0], colour[..., 2])
    deviations = {round(float((noisy.astype(float) - 128).std())) for noisy in grey}
    assert deviations == {8, 6}  # Gaussian, and signal-dependent: 8 * sqrt(128 / 255) = 5.7


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_worse_quality_is_worse(form: str) -> None:
    good, bad = compress(IMAGE, form, 95), compress(IMAGE, form, 10)
    assert good.shape == IMAGE.shape
    assert difference(good, IMAGE) < difference(bad, IMAGE) < 40


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_video_codecs_keep_size_and_get_worse(codec: str) -> None:
    odd = IMAGE[:51, :47]
    good, bad = compress_video(odd, codec, 12), compress_video(odd, codec, 48)
    assert good.shape == odd.shape
    assert difference(good, odd) < difference(bad, odd) < 60
    assert difference(compress_video(FLAT, codec, 20), FLAT) < 3  # no shift of brightness or colour


def test_unknown_codec_is_refused_before_the_first_step() -> None:
    with pytest.raises(InvalidOptionError, match="no-such-codec"):
        Degradation(dataclasses.replace(DegradeConfig(), video=0.5, video_codecs=("no-such-codec",)))
