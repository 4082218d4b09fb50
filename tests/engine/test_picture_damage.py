"""What is measured in a picture: compression and noise of known strength, and nothing where there is none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from paragon_engine.pictures import Picture, PictureInfo, Pixels, read_image
from paragon_engine.pictures.damage import BLOCKS, NOISE, QUALITY, Damage, measure, strength, table_quality
from training.data.pictures import synthetic_image


def photograph(side: int = 256) -> np.ndarray:
    """Dead leaves, fine ones on the left and out of focus on the right."""
    halves = [
        Image.fromarray(synthetic_image(part, 3)).resize((side, side), Image.Resampling.BICUBIC)
        for part in (2 * side, side // 8)
    ]
    image = np.concatenate([np.asarray(half)[:, : side // 2] for half in halves], axis=1).astype(np.float32)
    return np.clip(np.rint(0.7 * image + 40), 0, 255).astype(np.uint8)


def picture(image: np.ndarray) -> Picture:
    return Picture(cast("Pixels", image.astype(np.float32) / 255))


def through_jpeg(image: np.ndarray, quality: int, **options: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, **options)
    return np.asarray(Image.open(stream).convert("RGB"))


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, sigma, (*image.shape[:2], 1))
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", [30, 50, 75, 85, 90, 95])
def test_the_table_of_a_jpeg_tells_its_quality(tmp_path: Path, quality: int) -> None:
    Image.fromarray(photograph(64)).save(tmp_path / "a.jpg", quality=quality)
    found = measure(read_image(tmp_path / "a.jpg"))
    assert found.quality == pytest.approx(quality, abs=1)
    assert str(quality) in str(found) or str(quality - 1) in str(found) or str(quality + 1) in str(found)


@pytest.mark.parametrize("quality", [30, 50, 75, 90])
@pytest.mark.parametrize("offset", [(0, 0), (3, 5)])
def test_pixels_tell_the_quality_of_a_jpeg_saved_as_something_else(quality: int, offset: tuple[int, int]) -> None:
    image = through_jpeg(photograph(), quality)[offset[0] :, offset[1] :]
    found = measure(picture(image))
    if offset == (0, 0) or quality < 90:  # fine blocks show their place less
        assert found.quality == pytest.approx(quality, abs=3)
    gray = measure(Picture(picture(image).pixels[..., :1]))
    assert gray.quality is None or gray.quality <= quality + 15


@pytest.mark.parametrize("sigma", [3.0, 5.0, 10.0, 15.0])
def test_noise_is_measured_where_a_picture_is_flat(sigma: float) -> None:
    found = measure(picture(noisy(photograph(), sigma)))
    assert found.quality is None
    assert found.noise == pytest.approx(sigma, rel=0.25)


def test_a_clean_picture_is_left_alone() -> None:
    found = measure(picture(photograph()))
    assert strength(found) == 0
    assert str(found) == "clean"


def drawings() -> dict[str, np.ndarray]:
    image = Image.fromarray(photograph())
    rng = np.random.default_rng(0)
    text = np.full((256, 256, 3), 255, np.uint8)
    text[16:240:16, 8:248] = np.where(rng.random((14, 240, 1)) < 0.4, 0, 255)
    hand = rng.integers(0, 16, (32, 32, 1)) * np.array([16, 11, 7])
    return {
        "text": text,
        "line art": np.where(np.asarray(image) > 110, 255, 0).astype(np.uint8),
        "dithered, two colours": np.asarray(image.convert("1").convert("RGB")),
        "dithered, 16 colours": np.asarray(image.quantize(16).convert("RGB")),
        "dithered, 256 colours": np.asarray(image.quantize(256).convert("RGB")),
        "pixel art": hand.astype(np.uint8).repeat(8, 0).repeat(8, 1),
        "one colour": np.full((64, 64, 3), 90, np.uint8),
        "tiny": np.asarray(image)[:16, :16],
    }


@pytest.mark.parametrize("name", list(drawings()))
def test_what_was_drawn_counts_as_clean(name: str) -> None:
    assert strength(measure(picture(drawings()[name]))) == 0


def test_the_same_picture_gives_the_same_numbers_and_a_large_one_is_sampled() -> None:
    image = np.tile(through_jpeg(photograph(), 60), (4, 4, 1))
    assert measure(picture(image)) == measure(picture(image))
    assert measure(picture(image)).quality == pytest.approx(60, abs=3)


def test_a_file_that_says_its_steps_is_believed_before_its_pixels() -> None:
    steps = tuple([4] * 64)
    found = measure(Picture(picture(photograph()).pixels, info=PictureInfo(jpeg_steps=steps)))
    assert found.quality == table_quality(steps)


def test_more_damage_never_asks_for_less() -> None:
    for points, falling in ((QUALITY, True), (NOISE, False), (BLOCKS, False)):
        places = [x for x, _ in points]
        weights = [y for _, y in points]
        assert places == sorted(places)
        assert weights == sorted(weights, reverse=falling)
        assert {weights[0], weights[-1]} <= {0.0, 1.0} or falling
    assert [strength(Damage(quality=quality)) for quality in (99.5, 40)] == [0, 1]
    assert strength(Damage(noise=10)) == strength(Damage(blocks=3)) == 1
    assert strength(Damage(quality=99, noise=10)) == 1
