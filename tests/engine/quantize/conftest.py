"""Pictures and options that make quantising quick."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from paragon_arch.dead_leaves import dead_leaves
from paragon_engine.quantize import QuantizationOptions

pytest.importorskip("onnxruntime.quantization")

MODEL = Path(__file__).resolve().parents[3] / "models" / "2x-ParagonSR2-Realtime-v1.safetensors"


@pytest.fixture(scope="session")
def model() -> Path:
    """The shipped 2x model."""
    return MODEL


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five pictures in four formats and sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed, (name, side) in enumerate(
        (("a.png", 97), ("b.jpg", 128), ("c.webp", 150), ("d.png", 210), ("e.png", 120))
    ):
        pixels = (dead_leaves(side, seed)[0].permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(folder / name, quality=95)
    return folder


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> QuantizationOptions:
    """Few and small crops, no speed."""
    cache = tmp_path_factory.mktemp("cache")
    return QuantizationOptions(samples=6, crop=40, side=48, benchmark=False, cache=cache, overwrite=True)
