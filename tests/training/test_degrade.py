"""The degradation pipeline: every step does what it says, and nothing more."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from paragon_arch.errors import InvalidOptionError
from training.config import DegradeConfig
from training.data.codecs import compress, compress_jpeg, compress_video
from training.data.degrade import Degradation, add_noise, blur, sharpen
from training.data.pairs import downscale, edge_strength
from training.data.pictures import Pixels, synthetic_image

IMAGE = synthetic_image(64, 3)
FLAT = np.full((32, 48, 3), 128, np.uint8)


def difference(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def test_without_degradation_only_the_reduction_is_left() -> None:
    assert np.array_equal(Degradation(DegradeConfig())(IMAGE, 2, np.random.default_rng(0)), downscale(IMAGE, 2))


def test_everything_at_once_is_a_function_of_the_generator() -> None:
    config = DegradeConfig(blur=1, chain=1, noise=1, sharpen=1, jpeg=1, jpeg_twice=1, jpeg_shift=True, webp=1, video=1)
    config = dataclasses.replace(config, kernels=("box", "lanczos"))
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


def test_a_share_stays_clean() -> None:
    run = Degradation(DegradeConfig(clean=0.5, jpeg=1, jpeg_quality=(20, 20)))
    plain = downscale(IMAGE, 2)
    same = [np.array_equal(run(IMAGE, 2, np.random.default_rng(seed)), plain) for seed in range(40)]
    assert 10 < sum(same) < 30


def test_a_detour_over_a_smaller_size_loses_detail() -> None:
    run = Degradation(DegradeConfig(chain=1, chain_factor=(0.5, 0.5)))
    low = run(IMAGE, 2, np.random.default_rng(0))
    assert low.shape == (32, 32, 3)
    assert edge_strength(low) < 0.8 * edge_strength(downscale(IMAGE, 2))


def test_sharpening_leaves_halos_at_edges_and_nothing_elsewhere() -> None:
    step = np.full((32, 32, 3), 80, np.uint8)
    step[:, 16:] = 160
    result = sharpen(step, 1.0, 1.0)
    assert result[:, 16].min() > 170
    assert result[:, 15].max() < 70
    assert np.array_equal(result[:, :8], step[:, :8])


def test_the_grid_of_a_jpeg_is_where_it_is_said_to_be() -> None:
    rows, columns = np.mgrid[:64, :64]
    ramp = np.repeat(((rows + columns)[..., None] * 2).astype(np.uint8), 3, axis=2)
    for offset in ((0, 0), (3, 6)):
        steps = np.abs(np.diff(compress_jpeg(ramp, 5, halved=False, offset=offset)[..., 0].astype(int), axis=1))
        across = steps.mean(axis=0)
        borders = [column for column in range(8, 56) if (column + 1 + offset[1]) % 8 == 0]
        inside = [column for column in range(8, 56) if column not in borders]
        assert across[borders].mean() > 2 * across[inside].mean()


def test_halved_colour_is_softer() -> None:
    dots = np.zeros((32, 32, 3), np.uint8)
    dots[::2, :, 0] = 255
    full, halved = (compress_jpeg(dots, 98, halved=halved) for halved in (False, True))
    assert difference(full, dots) < 3
    assert difference(halved, dots) > 30


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
