"""Encoders: every PNG decodes to what was written, on any number of cores; no picture is too noisy to be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from paragon_arch.errors import OutputError
from paragon_engine.pictures import Picture, WriteOptions, read_image, write_image
from paragon_engine.pictures.png_pixels import PngImage, compressed


def png_values(shape: tuple[int, ...], kind: str, depth: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    height, width, channels = shape
    if kind == "noise":
        values = rng.random(shape)
    elif kind == "slopes":
        values = np.add.outer(np.arange(height), np.arange(width))[..., None] * np.arange(1, channels + 1) % 97 / 96
    else:
        values = np.full(shape, 0.8)
    return (values * (2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)


@pytest.mark.parametrize("kind", ["noise", "slopes", "flat"])
@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (2, 8), (3, 8), (4, 8), (1, 16), (3, 16), (4, 16)])
def test_every_png_decodes_to_what_was_written(
    kind: str, channels: int, depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paragon_engine.pictures.deflate.BLOCK", 20_000)
    for size, level in (((1, 1), 6), ((1, 300), 0), ((290, 1), 1), ((37, 53), 9), ((211, 307), 6)):
        data = png_values((*size, channels), kind, depth)
        values = data.astype(np.float32) / (2**depth - 1)
        picture = Picture(values[..., : channels - 1 + channels % 2], None if channels % 2 else values[..., -1])
        write_image(picture, tmp_path / "a.png", WriteOptions(png_level=level, bits=depth), overwrite=True)
        back = read_image(tmp_path / "a.png")
        assert np.array_equal(back.pixels, picture.pixels)
        assert (back.alpha is None) == (picture.alpha is None)
        if back.alpha is not None and picture.alpha is not None:
            assert np.array_equal(back.alpha, picture.alpha)


def test_a_png_is_the_same_file_on_any_number_of_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paragon_engine.pictures.deflate.BLOCK", 5_000)
    picture = Picture(np.random.default_rng(0).random((90, 120, 3)).astype(np.float32))
    for count in ("1", "3"):
        monkeypatch.setattr("paragon_engine.pictures.deflate.threads", lambda count=count: int(count))
        write_image(picture, tmp_path / f"{count}.png")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "3.png").read_bytes()


def test_a_png_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("paragon_engine.pictures.deflate._packed", fail)
    with pytest.raises(OutputError, match="no space left"):
        write_image(Picture(np.zeros((9, 9, 3), np.float32)), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_drawings_are_searched_for_repeats_and_photographs_are_not() -> None:
    rng = np.random.default_rng(0)
    glyphs = np.tile(rng.integers(0, 2, (16, 200), np.uint8) * 255, (60, 6))[..., None]
    grain = np.cumsum(rng.normal(0, 4, (900, 900, 1)), axis=1).astype(np.uint8)
    sizes: list[tuple[int, int]] = []
    for data in (glyphs, grain):
        image = PngImage(data.shape[1], data.shape[0], 1, 8, lambda top, bottom, data=data: data[top:bottom])
        sizes.append((sum(map(len, compressed(image, 6))), sum(map(len, compressed(image, 7)))))
    assert sizes[0][0] < 1.2 * sizes[0][1]
    assert sizes[1][0] < 1.03 * sizes[1][1]


@pytest.mark.parametrize("quality", [95, 100])
def test_noise_is_written_as_jpeg(quality: int, tmp_path: Path) -> None:
    """Settings that make Pillow's buffer the limit (optimize, progressive) fail here."""
    noise = np.random.default_rng(0).random((700, 700, 3)).astype(np.float32)
    write_image(Picture(noise), tmp_path / "a.jpg", WriteOptions(quality=quality))
    assert read_image(tmp_path / "a.jpg").size == (700, 700)
