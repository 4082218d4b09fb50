"""Compare Images (ParagonSR), with a stand-in for ComfyUI."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from nodes.compare_images import CompareImages
from paragon_arch.errors import InvalidOptionError
from paragon_engine.metrics import psnr_y, ssim_y
from tests.nodes.stand_in import Host


def test_pictures_reach_the_browser_with_their_scores(host: Host) -> None:
    torch.manual_seed(0)
    before, after = torch.rand(2, 24, 32, 3), torch.rand(1, 24, 32, 3)
    answer = CompareImages().compare(before, after)
    files = answer["ui"]["paragonsr_before"]
    assert [file["type"] for file in files] == ["temp", "temp"]
    stored = np.asarray(Image.open(host.base / "temp" / files[1]["filename"]))
    pixels = [(image.numpy() * 255 + 0.5).astype(np.uint8) for image in (before[1], after[0])]
    assert np.array_equal(stored, pixels[0])
    lines = answer["result"][0].splitlines()
    assert lines == answer["ui"]["paragonsr_scores"]
    assert lines[1] == f"PSNR {psnr_y(*pixels):.2f} dB, SSIM {ssim_y(*pixels):.4f}"


@pytest.mark.usefixtures("host")
def test_equal_pictures_and_pictures_without_scores() -> None:
    node, image = CompareImages(), torch.rand(1, 24, 32, 3)
    assert node.compare(image, image)["result"] == ("PSNR identical, SSIM 1.0000",)
    assert "no scores for different sizes" in node.compare(image, image[:, :20])["result"][0]
    assert "too small" in node.compare(image, image, border=9)["result"][0]
    assert node.compare(image, image, scores=False)["result"] == ("32 x 24 and 32 x 24",)


@pytest.mark.usefixtures("host")
def test_gray_and_transparent_pictures_are_shown_as_rgb() -> None:
    image = torch.rand(1, 24, 32, 1)
    colours = torch.cat([image.expand(-1, -1, -1, 3), torch.zeros(1, 24, 32, 1)], dim=-1)
    assert CompareImages().compare(image, colours)["result"] == ("PSNR identical, SSIM 1.0000",)


@pytest.mark.usefixtures("host")
def test_batches_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="2 pictures cannot be paired with 3"):
        CompareImages().compare(torch.rand(2, 8, 8, 3), torch.rand(3, 8, 8, 3))
