"""Foreign picture files: the test data of libjxl and the stamps of Tux Paint, from Debian's packages."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paragon_arch.errors import ImageError
from paragon_engine.pictures import Picture, image_size, read_image, write_image
from paragon_engine.pictures.colour import conversion_of
from paragon_engine.upscale import upscale_picture
from tests.engine_models import upscaler

pytestmark = pytest.mark.slow
pytest.importorskip("av", reason="16-bit colour needs PyAV: pip install av")


def package(name: str, installed: str, folder: Path) -> Path:
    """The files of a Debian package: those installed, else downloaded and unpacked, else the test is skipped."""
    if Path(installed).is_dir():
        return Path(installed)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip(f"needs the Debian package {name}")
    found = subprocess.run(["apt-get", "download", name], cwd=folder, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"the Debian package {name} cannot be fetched: {found.stderr.strip()[-200:]}")
    subprocess.run(["dpkg-deb", "-x", str(next(folder.glob(f"{name}_*.deb"))), "tree"], cwd=folder, check=True)
    return folder / "tree" / installed.lstrip("/")


@pytest.fixture(scope="module")
def libjxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package("libjxl-testdata", "/usr/share/libjxl-testdata", tmp_path_factory.mktemp("libjxl"))


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package("tuxpaint-stamps-default", "/usr/share/tuxpaint/stamps", tmp_path_factory.mktemp("stamps"))


def pictures(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg"))


def check(path: Path, copy: Path) -> Picture:
    """A picture as Pillow sees it, and the same after writing."""
    picture = read_image(path)
    assert picture.size == image_size(path), path
    image: Image.Image = Image.open(path)
    with image:
        assert picture.is_gray == (image.mode in ("1", "L", "LA", "I;16", "I")), path
    write_image(picture, copy, overwrite=True)
    back = read_image(copy)
    step = 2**picture.info.bits - 1
    assert back.info.bits == picture.info.bits, path
    assert np.array_equal(np.rint(back.pixels * step), np.rint(picture.pixels * step)), path
    assert back.info.icc_profile == picture.info.icc_profile, path
    assert (back.alpha is None) == (picture.alpha is None), path
    if picture.alpha is not None and back.alpha is not None:
        assert np.array_equal(np.rint(back.alpha * step), np.rint(picture.alpha * step)), path
    return picture


def test_every_picture_of_libjxl_survives_or_is_refused_with_a_reason(libjxl: Path, tmp_path: Path) -> None:
    read, refused, converted = 0, list[str](), 0
    for path in pictures(libjxl):
        try:
            picture = check(path, tmp_path / "copy.png")
        except ImageError as error:
            refused.append(str(error))
            continue
        read += 1
        conversion = conversion_of(picture.info.icc_profile)
        if conversion is not None:
            converted += 1
            small = picture.pixels[:64, :64]
            assert np.abs(conversion.from_srgb(conversion.to_srgb(small)) - small).max() < 2e-3, path
    assert read > 30
    assert converted > 3
    assert len(refused) < read / 10, refused
    assert all(str(libjxl) in reason for reason in refused)


def test_stamps_keep_their_transparency(stamps: Path, tmp_path: Path) -> None:
    """Every tenth stamp: opaque stays opaque, empty stays empty, and no edge is darker than what is around it."""
    found = 0
    for path in list(pictures(stamps))[::40]:
        picture = check(path, tmp_path / "copy.png")
        if picture.alpha is None or min(picture.size) < 32:
            continue
        found += 1
        part = Picture(picture.pixels[:96, :96], picture.alpha[:96, :96], picture.info)
        assert part.alpha is not None
        result = upscale_picture(upscaler(), part)
        assert result.alpha is not None
        for value in (0.0, 1.0):
            same = _eroded(part.alpha == value)
            doubled = same.repeat(2, axis=0).repeat(2, axis=1)
            assert np.all(result.alpha[doubled] == value), path
    assert found >= 5


def _eroded(mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Pixels whose eight neighbours are set too."""
    padded = np.pad(mask, 1, mode="edge")
    height, width = mask.shape
    parts = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.logical_and.reduce(parts)
