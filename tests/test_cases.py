"""Reports of people who do this job, each with its file: every one comes out as its README says."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.cli import main
from paragon_engine.pictures import read_image
from paragon_engine.pictures.png_chunks import read as read_chunks
from tests.judges import exiftool, magick, output, probe, program
from tests.pictures.samples import chunk
from tests.video_files import av

CaseFolder = Callable[[str], Path]


@pytest.fixture
def case(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CaseFolder:
    """Copies the folder of a case to a place of its own and goes there."""
    if not (shared / "cases").is_dir():
        pytest.skip("the reference data have no cases")

    def copy(name: str) -> Path:
        target = tmp_path / name
        shutil.copytree(shared / "cases" / name, target)
        for path in [target, *target.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        monkeypatch.chdir(target)
        return target

    return copy


def run(*arguments: Any, code: int = 0) -> None:
    """Run the program with the model that it comes with."""
    words = [str(argument) for argument in arguments]
    assert main(words) == code, words


def test_tiled_tiff(case: CaseFolder) -> None:
    case("tiff16-tiled-black")
    for name in ("tiled16", "flat16"):
        run("upscale", f"{name}.tif", "-o", f"{name}_out.png")
    first, second = read_image("tiled16_out.png"), read_image("flat16_out.png")
    assert first.info.bits == 16
    assert np.array_equal(first.pixels, second.pixels)
    assert abs(first.pixels.mean() - 0.5) < 0.02


def test_tiled_tiff_by_imagemagick(case: CaseFolder) -> None:
    case("tiff16-tiled-black")
    assert abs(read_image("tiled16.tif").pixels.mean() - float(magick(Path("tiled16.tif"), "%[fx:mean]"))) < 1e-3


def test_white_is_zero(case: CaseFolder) -> None:
    case("tiff-gray-white-is-zero")
    run("upscale", "wiz16.tif", "-o", "out.png")
    pixels = read_image("out.png").pixels
    assert pixels[:, 0].min() > 0.9
    assert pixels[:, -1].max() < 0.1


def test_transparent_gray(case: CaseFolder) -> None:
    case("png-trns-lost")
    run("upscale", "gray16_trns.png", "-o", "o1.png")
    alpha = read_image("o1.png").alpha
    assert alpha is not None
    assert (alpha[:, :28].max(), alpha[:, 36:].min()) == (0, 1)


def test_exif_text(case: CaseFolder) -> None:
    case("exif-text-not-ascii")
    run("upscale", "photo.jpg", "-o", "out.jpg")
    data = Path("out.jpg").read_bytes()
    assert "Größe 猫".encode() in data
    assert "Jörg".encode() in data


def test_exif_text_by_exiftool(case: CaseFolder) -> None:
    case("exif-text-not-ascii")
    run("upscale", "photo.jpg", "-o", "out.jpg")
    for name in ("IFD0:ImageDescription", "IFD0:Artist"):
        assert exiftool(Path("out.jpg"))[name] == exiftool(Path("photo.jpg"))[name]


def test_long_exif(case: CaseFolder, capsys: pytest.CaptureFixture[str]) -> None:
    case("exif-over-64k-to-jpeg")
    run("upscale", "long.webp", "-o", "out.jpg")
    assert "EXIF" in capsys.readouterr().err
    assert read_image("out.jpg").size == (64, 48)


def test_gain_map_and_motion_photo(case: CaseFolder, capsys: pytest.CaptureFixture[str]) -> None:
    case("xmp-gain-map-and-motion-photo")
    run("upscale", "ultrahdr.jpg", "-o", "out.jpg")
    run("upscale", "motion.jpg", "-o", "out2.jpg")
    told = capsys.readouterr().err
    assert "gain map" in told
    assert "motion photo" in told
    for name in ("out.jpg", "out2.jpg"):
        data = Path(name).read_bytes()
        assert b"x:xmpmeta" in data
        for word in (b"hdrgm:Version", b"GainMap", b"MotionPhoto", b"MicroVideoOffset"):
            assert word not in data, (name, word)


def test_colour_chunks(case: CaseFolder) -> None:
    case("png-colour-chunks-lost")
    run("upscale", "pq.png", "-o", "out.png")
    run("upscale", "linear.png", "-o", "out2.png")
    assert read_image("out.png").info.cicp == (9, 16, 0, 1)
    assert read_image("out2.png").info.gamma == 1.0


def test_colour_chunks_by_pngcheck(case: CaseFolder) -> None:
    case("png-colour-chunks-lost")
    run("upscale", "linear.png", "-o", "out2.png")
    assert "gAMA" in output(program("pngcheck"), "-v", "out2.png")


def test_large_profile_and_text(case: CaseFolder, capsys: pytest.CaptureFixture[str]) -> None:
    case("png-large-profile-or-text-refused")
    run("upscale", "bigicc.png", "-o", "out.png")
    assert "profile" in capsys.readouterr().err  # this one is made of zeros and names no colours
    run("upscale", "bigtext.png", "-o", "out2.png")
    assert len(read_image("out2.png").info.text["workflow"]) == 1_500_000


def test_generator_text(case: CaseFolder) -> None:
    case("png-text-to-jpeg")
    for extension in ("webp", "jpg", "tif"):
        run("upscale", "sd.png", "-o", f"out.{extension}")
        exif = read_image(f"out.{extension}").info.exif
        assert exif is not None
        assert b"ASCII\0\0\0a cat Steps: 20" in exif


def test_generator_text_by_exiftool(case: CaseFolder) -> None:
    case("png-text-to-jpeg")
    run("upscale", "sd.png", "-o", "out.webp")
    assert exiftool(Path("out.webp"))["ExifIFD:UserComment"] == "a cat Steps: 20"


def test_new_folder(case: CaseFolder, capsys: pytest.CaptureFixture[str]) -> None:
    case("cli-new-output-folder")
    run("upscale", "a.jpg", "-o", "newfolder/")
    assert Path("newfolder/a.png").is_file()
    code = 6
    run("upscale", "phone", "-o", "out", code=code)
    assert "IMG_0001.HEIC" in capsys.readouterr().err


def test_brackets(case: CaseFolder) -> None:
    case("file-name-with-brackets")
    run("upscale", "photo[1].jpg", "-o", "out.png")
    assert Path("out.png").is_file()
    run("upscale", "[Group] Title/*.jpg", "-o", "outdir")
    assert [path.name for path in Path("outdir").iterdir()] == ["p1.png"]


def test_twice_and_in_other_case(case: CaseFolder) -> None:
    case("same-picture-twice-or-case")
    run("upscale", "a.jpg", "*.jpg", "-o", "out")
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]
    files = {path.name for path in Path("folder").iterdir()}
    run("upscale", "folder", "-o", "out2")
    assert len({path.name.casefold() for path in Path("out2").iterdir()}) == len(files)


def test_covers(case: CaseFolder) -> None:
    case("video-cover-lost")
    for name in ("film.mkv", "film.mp4"):
        run("video", name, "-o", f"out_{name}")
        with av.open(f"out_{name}") as container:
            covers = [stream for stream in container.streams.video if int(stream.disposition) & 0x400]
            assert len(covers) == 1, name
            found = [bytes(packet) for packet in container.demux(covers[0]) if packet.size]
        with av.open(name) as source:
            cover = next(stream for stream in source.streams.video if int(stream.disposition) & 0x400)
            assert found == [bytes(packet) for packet in source.demux(cover) if packet.size]
    with av.open("out_film.mkv") as container:
        assert [stream.metadata["filename"] for stream in container.streams if stream.type == "attachment"] == [
            "font.ttf"
        ]


def test_covers_by_ffprobe(case: CaseFolder) -> None:
    case("video-cover-lost")
    run("video", "film.mkv", "-o", "out.mkv")
    streams = probe(Path("out.mkv"), "-show_streams")["streams"]
    assert sum(stream["disposition"]["attached_pic"] for stream in streams) == 1


def test_damaged_sound(case: CaseFolder, capsys: pytest.CaptureFixture[str]) -> None:
    case("video-damaged-sound")
    run("video", "damaged.ts", "-o", "out.mp4")
    assert "damaged packets of its audio" in capsys.readouterr().err
    with av.open("out.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 25


def test_start_time(case: CaseFolder) -> None:
    case("video-start-time")
    run("video", "late.ts", "-o", "out.mp4")
    with av.open("out.mp4") as container, av.open("late.ts") as source:
        assert container.start_time == 0
        assert 0.9e6 < container.duration < 1.2e6
        lead = [stream.start_time * stream.time_base for stream in container.streams]
        was = [stream.start_time * stream.time_base for stream in source.streams]
        assert abs((lead[0] - lead[1]) - (was[0] - was[1])) < 1e-3


def test_checkpoints(case: CaseFolder, capsys: pytest.CaptureFixture[str]) -> None:
    case("checkpoint-all-half")
    run("inspect", "2x_nano_half.pth")
    assert "float16" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["lightning_old", "lightning_hparams", "lightning_gan"])
def test_lightning(case: CaseFolder, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    case("checkpoint-lightning")
    run("inspect", f"{name}.ckpt")
    assert "state_dict.net_g" in capsys.readouterr().out


def test_zip_messages(case: CaseFolder, capsys: pytest.CaptureFixture[str]) -> None:
    case("checkpoint-zip-messages")
    run("inspect", "rezip.pth")
    run("inspect", "wrapped.pth", code=3)
    assert "2xModel.safetensors in it: unpack it" in capsys.readouterr().err


def test_code_page(case: CaseFolder) -> None:
    folder = case("stdout-code-page")
    name = next(folder.glob("2x_*.safetensors")).name
    root = Path(__file__).resolve().parent.parent
    for words in (["inspect", name], ["fuse", name, "-o", "fused.safetensors"]):
        environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(root)}
        command = [sys.executable, "-m", "deploy", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        if words[0] == "inspect":
            assert b"\\u30a2" in done.stdout


def test_headers_of_pngs_are_read_without_their_pixels(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", bytes(1000)) + chunk(b"IEND", b""))
    with path.open("rb") as stream:
        _, small = read_chunks(stream, pixels=False)
    assert len(small.read()) < 100
