"""What the size widgets ask of the engine."""

from __future__ import annotations

import pytest

from nodes.sizes import PRESETS, RESIZE, Size
from paragon_engine.upscale import UpscaleSettings


@pytest.mark.parametrize(
    ("preset", "picture", "size"),
    [
        ("Full HD (1920 x 1080)", (640, 480), (1440, 1080)),
        ("Full HD (1920 x 1080)", (480, 640), (1080, 1440)),  # upright
        ("Full HD (1920 x 1080)", (1000, 300), (1920, 576)),
        ("4K (3840 x 2160)", (1920, 1080), (3840, 2160)),
        ("HD (1280 x 720)", (4000, 4000), (720, 720)),  # smaller than the input
        ("8K (7680 x 4320)", (768, 432), (7680, 4320)),
    ],
)
def test_a_preset_is_the_screen_that_the_picture_fits_into(
    preset: str, picture: tuple[int, int], size: tuple[int, int]
) -> None:
    wanted = Size(preset).applied(UpscaleSettings(), picture, 2)
    assert wanted.output_size(picture, 2) == size


def test_the_limit_keeps_the_proportions_and_is_not_exceeded() -> None:
    wanted = Size("8K (7680 x 4320)", max_megapixels=8.0).applied(UpscaleSettings(), (1920, 1080), 2)
    width, height = wanted.output_size((1920, 1080), 2)
    assert 7_990_000 < width * height <= 8_000_000
    assert abs(width / height - 16 / 9) < 0.001
    assert Size(max_megapixels=8.0).applied(UpscaleSettings(), (100, 100), 2) == UpscaleSettings()


def test_each_preset_says_its_size() -> None:
    assert all(f"({width} x {height})" in name for name, (width, height) in PRESETS.items())
    assert RESIZE[0] == Size().resize
