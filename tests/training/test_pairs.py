"""Training pairs and the list of photographs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paragon_arch.errors import ImageError
from training.config import DataConfig, DegradeConfig
from training.data.fetch_photographs import holdout_pictures
from training.data.pairs import PairSampler, batches, downscale, edge_strength, make_sampler, to_pixels, to_tensor
from training.data.pictures import Pixels, Store, image_size, list_images, read_image, synthetic_image
from training.data.sources import PACKAGES, training_photographs
from training.distributed import World

CONFIG = DataConfig(synthetic=1, patch=32, batch=4)


def files(folder: Path, *images: Pixels) -> list[Path]:
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index}.png")
    return list_images(folder)


@pytest.fixture(scope="module")
def sampler() -> PairSampler:
    return PairSampler(Store([0, 1], memory=10**6), CONFIG, scale=2, seed=3)


def test_batch_is_a_function_of_seed_and_step(sampler: PairSampler) -> None:
    again = PairSampler(sampler.store, CONFIG, scale=2, seed=3)
    assert torch.equal(sampler.batch(7)[1], again.batch(7)[1])
    assert not torch.equal(sampler.batch(7)[1], sampler.batch(8)[1])


def test_low_resolution_is_the_antialiased_bicubic_of_high(sampler: PairSampler) -> None:
    low, high = sampler.batch(0)
    assert (low.shape, high.shape) == ((4, 3, 16, 16), (4, 3, 32, 32))
    expected = torch.nn.functional.interpolate(high, scale_factor=0.5, mode="bicubic", antialias=True).clamp(0, 1)
    # Pillow rounds and clips to 8 bits after each axis
    assert (low - expected).abs().mean() <= 0.5 / 255


def test_candidates_prefer_edges(tmp_path: Path) -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    half = np.array(flat)
    half[:, :32] = synthetic_image(64, 5)[:, :32]
    store = Store(files(tmp_path, half), memory=0)
    choosy = PairSampler(store, DataConfig(synthetic=1, patch=16, candidates=8), scale=2, seed=0)
    rng = np.random.default_rng(0)
    assert min(edge_strength(choosy.patch(rng)) for _ in range(10)) > edge_strength(flat)


def test_pictures_that_are_too_small_are_left_out_or_refused(tmp_path: Path) -> None:
    small, large = files(tmp_path, np.zeros((16, 64, 3), np.uint8), synthetic_image(40, 0))
    assert PairSampler(Store([small, large], memory=0), CONFIG, scale=2, seed=0).usable == [1]
    with pytest.raises(ImageError, match="patch = 32"):
        PairSampler(Store([small], memory=0), CONFIG, scale=2, seed=0)


def test_two_processes_share_the_batch_of_one(sampler: PairSampler) -> None:
    half = dataclasses.replace(CONFIG, batch=2)
    parts = [PairSampler(sampler.store, half, scale=2, seed=3, world=World(rank, 2)).batch(5)[1] for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), sampler.batch(5)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_worker_processes_make_the_same_batches(sampler: PairSampler) -> None:
    config = dataclasses.replace(CONFIG, workers=1)
    helped = PairSampler(sampler.store, config, scale=2, seed=3)
    for step, (low, high) in enumerate(batches(helped, 2, 4, pin=False), start=2):
        assert torch.equal(low, sampler.batch(step)[0])
        assert torch.equal(high, sampler.batch(step)[1])


def test_the_store_keeps_what_fits(tmp_path: Path) -> None:
    store = Store(files(tmp_path, synthetic_image(40, 0), synthetic_image(48, 1)), memory=40 * 40 * 3)
    assert (store.sizes, image_size(tmp_path / "1.png")) == ([(40, 40), (48, 48)], (48, 48))
    assert [store[index].shape[0] for index in (0, 1, 1)] == [40, 48, 48]
    assert list(store.kept) == [0]


def paired(tmp_path: Path, *, height: int = 24) -> DataConfig:
    high, low = tmp_path / "high", tmp_path / "low"
    high.mkdir()
    low.mkdir()
    image = synthetic_image(64, 0)[:48]
    Image.fromarray(image).save(high / "a.png")
    Image.fromarray(downscale(image, 2)[:height]).save(low / "a.bmp")
    return DataConfig(str(high), str(low), patch=32, batch=3, shrink=(1.0, 1.0))


def test_paired_folders_give_fitting_patches(tmp_path: Path) -> None:
    low, high = make_sampler(paired(tmp_path), scale=2, seed=0, degrade=DegradeConfig()).batch(1)
    assert (low.shape, high.shape) == ((3, 3, 16, 16), (3, 3, 32, 32))
    again = np.stack([downscale(image, 2) for image in to_pixels(high)])
    inside = np.abs(again.astype(int) - to_pixels(low))[:, 3:-3, 3:-3]  # at borders the reduction saw more
    assert inside.mean() < 0.5  # Pillow rounds and clips after each axis, whose order a turn changes
    assert inside.max() < 10


def test_partners_must_exist_and_fit(tmp_path: Path) -> None:
    config = paired(tmp_path, height=23)
    with pytest.raises(ImageError, match="64x48 is not 2 times its partner 32x23"):
        make_sampler(config, scale=2, seed=0, degrade=DegradeConfig())
    Image.fromarray(synthetic_image(64, 0)).save(tmp_path / "high" / "b.png")
    with pytest.raises(ImageError, match="no picture of this name"):
        make_sampler(config, scale=2, seed=0, degrade=DegradeConfig())


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
