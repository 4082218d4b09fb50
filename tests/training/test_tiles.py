"""Tiles: which are cut, and where their pictures come from."""

from __future__ import annotations

import hashlib
import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data import fetch_tiles
from training.data.fetch_tiles import TileSource, fetch, git_sha1, main, take, tile_sources
from training.data.pictures import Pixels, resize, synthetic_image
from training.data.tiles import SHARP, sharp_tiles, sharpness

LEAVES = synthetic_image(600, 1)


def png(image: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def test_soft_pictures_are_reduced_until_they_are_sharp() -> None:
    soft = resize(LEAVES, (1200, 1200), Image.Resampling.BICUBIC)
    assert sharpness(soft) < 0.5 < SHARP < sharpness(LEAVES)
    (tile,) = sharp_tiles(soft)
    assert sharpness(tile) > 0.9 * SHARP
    assert min(tile.shape[:2]) >= 256


def test_small_and_flat_pictures_give_no_tile() -> None:
    assert sharp_tiles(LEAVES[:200]) == []
    assert sharp_tiles(np.full((600, 600, 3), 80, np.uint8)) == []


def test_tiles_of_one_picture_do_not_overlap() -> None:
    wide = np.concatenate([LEAVES, LEAVES[::-1], LEAVES[:, ::-1]], axis=1)
    tiles = sharp_tiles(wide)
    assert [tile.shape for tile in tiles] == [(512, 512, 3)] * 3
    assert len({tile.tobytes() for tile in tiles}) == 3


def test_every_source_says_where_it_is_from_and_under_what() -> None:
    sources = tile_sources()
    assert len(sources) > 800
    assert {source.kind for source in sources} == {"photo", "art", "lineart", "text"}
    assert {source.licence_class for source in sources} == {"A", "B", "S"}
    assert all(len(source.sha1) == 40 and source.path and source.licence for source in sources)
    assert all("@" in source.source or source.source.startswith("debian:") for source in sources)


def test_git_names_content_as_git_does(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"some content")
    try:
        found = subprocess.run(["git", "hash-object", "a"], cwd=tmp_path, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    assert git_sha1(b"some content") == found.stdout.strip()


def test_pictures_are_checked_cut_and_those_that_fail_are_named(tmp_path: Path) -> None:
    content = png(LEAVES)

    def source(path: str, sha1: str) -> TileSource:
        return TileSource("photo", "some/where@0123", path, sha1, "A", "CC0-1.0")

    def opened(asked: TileSource) -> bytes:
        if asked.path == "gone.png":
            raise OSError("HTTP 404")
        return content

    good = source("good.png", git_sha1(content))
    count, missing = fetch([good, source("gone.png", "0" * 40), source("other.png", "1" * 40)], tmp_path, opened)
    (tile,) = (tmp_path / "photo").iterdir()
    assert (count, tile.name) == (1, f"where-{good.sha1[:12]}-0.png")
    assert ["HTTP 404" in missing[0], "has changed" in missing[1], len(missing)] == [True, True, 2]


def test_debian_packages_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unpack(package: object, folder: Path) -> Path:
        asked.append(getattr(package, "name", ""))
        (folder / "usr").mkdir(exist_ok=True)
        (folder / "usr" / "a.png").write_bytes(b"picture")
        return folder

    monkeypatch.setattr(fetch_tiles, "unpack", unpack)
    opener = fetch_tiles.Downloads(tmp_path)
    source = TileSource("art", "debian:some-data=1:2", "usr/a.png", hashlib.sha1(b"picture").hexdigest(), "S", "GPL-2+")
    assert opener(source) == opener(source) == b"picture"
    assert asked == ["some-data"]


def test_a_folder_that_is_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / "have" / "text").mkdir(parents=True)
    (tmp_path / "have" / "text" / "a.png").write_bytes(png(LEAVES[:32, :32]))
    assert main(["--from", str(tmp_path / "have"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "text" / "a.png").read_bytes() == (tmp_path / "have" / "text" / "a.png").read_bytes()
    assert take(tmp_path / "have", tmp_path / "out") == 1
    assert main(["--from", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 1
