"""Every layout, fused and unfused, exports in FP32 and FP16 and passes `verify` at six odd sizes and on pictures.

The whole, which takes an hour of one core: python -m pytest -m exhaustive tests/release/test_every_layout.py
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from paragon_arch.errors import ParagonWarning
from paragon_engine.release.export import Export, ExportOptions, export_all, open_source
from paragon_engine.release.pictures import ODD_SIZES, photographs
from tests.golden import NAMES, Golden, read
from tests.release.killing import pictures

SHORT = (
    "v1-nearest_custom20_x3",
    "v2-dynamic_custom16_x4_full_b2",
    "v2-hybrid-rms_tiny_x2",
    "v2-release_realtime_x2",
    "v2-static_micro_x2",
    "v2-v9a_stream_x2",
)
"""For every run of the tests: the quick ones, of each generation."""
NO_HALF = frozenset(("v2-atd_pro-shrunk32_x2",))
"""FP16 is refused: rounding moves tokens to other groups, by design of the network (its traits say so)."""


def exported(golden: Golden, *, fused: bool, folder: Path) -> list[Export]:
    """Both graphs of a golden checkpoint, as `export` and `release` make them."""
    path = folder / "model.safetensors"
    save_file({key: value.contiguous() for key, value in (golden.fused if fused else golden.state).items()}, path)
    options: dict[str, Any] = {"tracked": "keep", **golden.options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParagonWarning)  # of what the options answer
        source = open_source(path, accept_identity=True, **options)
    return export_all(source, ExportOptions(), photographs([pictures(folder / "pictures", side=96)]))


def check(name: str, *, fused: bool, shared: Path, folder: Path) -> None:
    golden = read(shared / "golden" / f"{name}.safetensors")
    if fused and not golden.fused:
        pytest.skip("fusing changes nothing here")
    full, half = exported(golden, fused=fused, folder=folder)
    for item in (full, half):
        assert len(item.verification.results) >= 2 + len(ODD_SIZES)
    assert full.verification.passed, full.verification.failures
    assert half.verification.passed == (name not in NO_HALF), (half.verification.failures, half.notes)
    assert half.verification.max_abs > full.verification.max_abs  # not the FP32 graph under another name


@pytest.mark.parametrize("name", SHORT)
def test_a_layout_of_each_generation(name: str, shared: Path, tmp_path: Path) -> None:
    check(name, fused=False, shared=shared, folder=tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
@pytest.mark.parametrize("name", NAMES)
def test_every_layout(name: str, fused: bool, shared: Path, tmp_path: Path) -> None:
    check(name, fused=fused, shared=shared, folder=tmp_path)
