"""PSNR and SSIM against scikit-image and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paragon_arch.errors import InvalidOptionError
from paragon_engine.metrics import Pixels, luma, psnr_y, psnr_y_frame, ssim_y


@pytest.fixture
def pair() -> tuple[Pixels, Pixels]:
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.integers(-3, 4, (40, 50, 3)), axis=1) + 128
    noisy = smooth + rng.integers(-20, 21, smooth.shape)
    return noisy.clip(0, 255).astype(np.uint8), smooth.clip(0, 255).astype(np.uint8)


def test_luma_of_black_white_and_red_is_matlabs() -> None:
    image = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    assert luma(image)[0] == pytest.approx([16, 235, 81.481])


def test_a_grey_step_has_the_psnr_of_the_formula() -> None:
    a, b = np.full((8, 8, 3), 100, np.uint8), np.full((8, 8, 3), 110, np.uint8)
    assert psnr_y(a, b) == pytest.approx(20 * math.log10(255 / (10 * 219 / 255)))


def test_equal_images(pair: tuple[Pixels, Pixels]) -> None:
    assert psnr_y(pair[0], pair[0]) == math.inf
    assert ssim_y(pair[0], pair[0]) == pytest.approx(1)


def test_border_is_left_out(pair: tuple[Pixels, Pixels]) -> None:
    damaged = np.array(pair[1])
    damaged[:2], damaged[-2:], damaged[:, :2], damaged[:, -2:] = 0, 0, 0, 0
    assert psnr_y(damaged, pair[1], border=2) == math.inf
    assert psnr_y(damaged, pair[1], border=1) < 40


def test_frame_sees_the_border_alone(pair: tuple[Pixels, Pixels]) -> None:
    inner = np.array(pair[1])
    inner[3:-3, 3:-3] = 0
    assert psnr_y_frame(inner, pair[1], width=3) == math.inf
    assert psnr_y_frame(inner, pair[1], width=4) < 40


def test_sizes_must_agree_and_suffice(pair: tuple[Pixels, Pixels]) -> None:
    with pytest.raises(InvalidOptionError, match="cannot be compared"):
        psnr_y(pair[0], pair[1][:-1])
    with pytest.raises(InvalidOptionError, match="border = 20"):
        psnr_y(*pair, border=20)
    with pytest.raises(InvalidOptionError, match="border = 15"):
        ssim_y(*pair, border=15)


def test_values_equal_scikit_images(pair: tuple[Pixels, Pixels]) -> None:
    color = pytest.importorskip("skimage.color", reason="pip install scikit-image to compare with it")
    measure = pytest.importorskip("skimage.metrics")
    a, b = (color.rgb2ycbcr(image)[..., 0] for image in pair)
    assert psnr_y(*pair) == pytest.approx(measure.peak_signal_noise_ratio(b, a, data_range=255))
    _, full = measure.structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    assert ssim_y(*pair) == pytest.approx(full[5:-5, 5:-5].mean())
