"""Training pairs and the list of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paragon_arch.errors import ImageError
from training.config import DataConfig
from training.data.fetch_photographs import holdout_pictures
from training.data.pairs import (
    PairSampler,
    downscale,
    edge_strength,
    list_images,
    read_image,
    synthetic_image,
    to_pixels,
    to_tensor,
)
from training.data.sources import PACKAGES, training_photographs

CONFIG = DataConfig(synthetic=1, patch=32, batch=4)


@pytest.fixture(scope="module")
def sampler() -> PairSampler:
    return PairSampler([synthetic_image(96, 0), synthetic_image(80, 1)], CONFIG, scale=2, seed=3)


def test_batch_is_a_function_of_seed_and_step(sampler: PairSampler) -> None:
    again = PairSampler(sampler.images, CONFIG, scale=2, seed=3)
    assert torch.equal(sampler.batch(7)[1], again.batch(7)[1])
    assert not torch.equal(sampler.batch(7)[1], sampler.batch(8)[1])


def test_low_resolution_is_the_antialiased_bicubic_of_high(sampler: PairSampler) -> None:
    low, high = sampler.batch(0)
    assert (low.shape, high.shape) == ((4, 3, 16, 16), (4, 3, 32, 32))
    expected = torch.nn.functional.interpolate(high, scale_factor=0.5, mode="bicubic", antialias=True).clamp(0, 1)
    # Pillow rounds and clips to 8 bits after each axis
    assert (low - expected).abs().mean() <= 0.5 / 255


def test_candidates_prefer_edges(sampler: PairSampler) -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    half = np.array(flat)
    half[:, :32] = synthetic_image(64, 5)[:, :32]
    choosy = PairSampler([half], DataConfig(synthetic=1, patch=16, candidates=8), scale=2, seed=0)
    rng = np.random.default_rng(0)
    assert min(edge_strength(choosy.patch(rng)) for _ in range(10)) > edge_strength(flat)


def test_pictures_that_are_too_small_are_left_out_or_refused() -> None:
    small = np.zeros((16, 64, 3), np.uint8)
    assert len(PairSampler([small, synthetic_image(40, 0)], CONFIG, scale=2, seed=0).images) == 1
    with pytest.raises(ImageError, match="patch = 32"):
        PairSampler([small], CONFIG, scale=2, seed=0)


def test_pixels_survive_the_way_to_a_tensor_and_back() -> None:
    image = synthetic_image(32, 2)
    assert np.array_equal(to_pixels(to_tensor(image[None]))[0], image)


def test_downscale_of_a_constant_is_constant() -> None:
    assert (downscale(np.full((12, 8, 3), 200, np.uint8), 4) == 200).all()


def test_reading_pictures(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no pictures"):
        list_images(tmp_path)
    Image.fromarray(synthetic_image(20, 0)).save(tmp_path / "a.png")
    (tmp_path / "b.PNG").write_bytes(b"not a picture")
    good, bad = list_images(tmp_path)
    assert read_image(good).shape == (20, 20, 3)
    with pytest.raises(ImageError, match=r"b\.PNG"):
        read_image(bad)


def test_no_holdout_picture_is_a_training_picture() -> None:
    held = {(picture.package, picture.path) for picture in holdout_pictures()}
    used = {(package.name, path) for package, _, path in training_photographs()}
    assert len(held) == 8
    assert not held & used
    assert {package for package, _ in held} <= {package.name for package in PACKAGES}
