"""Many pictures: patterns, shards, verified skipping, kills, comparison and report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paragon_arch.errors import CancelledError, ImageError, InvalidOptionError, OutputError
from paragon_arch.files.atomic import atomic_path, remove_leftovers
from paragon_engine.jobs import FolderOptions, Shard, plan, upscale_files, write_report
from paragon_engine.jobs.compare import comparison, detailed_part
from paragon_engine.jobs.pipeline import prefetched, run_pipeline
from paragon_engine.jobs.plan import result_names
from paragon_engine.pictures import Picture, read_image, write_image
from paragon_engine.pictures.formats import PLUG_INS
from paragon_engine.progress import Progress
from paragon_engine.upscale import upscale_picture
from tests.engine_models import checkpoint, upscaler

RNG = np.random.default_rng(0)
ROOT = Path(__file__).resolve().parent.parent


def picture(height: int = 8, width: int = 10) -> Picture:
    return Picture(RNG.random((height, width, 3), dtype=np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.jpg", "deep/c.tif", "deep/er/d.png", ".hidden.png", "deep/._e.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(picture(), path)
    return tmp_path / "in"


def targets(*inputs: Path, recursive: bool = True, shard: Shard | None = None) -> list[str]:
    jobs = plan(inputs, Path("out"), recursive=recursive, extension=".png", shard=shard)
    return [job.target.relative_to("out").as_posix() for job in jobs]


def test_inputs_are_folders_files_and_patterns(folder: Path) -> None:
    assert targets(folder) == ["a.png", "b.png", "deep/c.png", "deep/er/d.png"]
    assert targets(folder, recursive=False) == ["a.png", "b.png"]
    assert targets(folder / "**" / "*.png") == ["a.png", "deep/er/d.png"]
    assert targets(folder / "*" / "c.*") == ["deep/c.png"]
    assert targets(folder / "a.png", folder / "deep" / "c.tif") == ["a.png", "c.png"]
    for nothing in (folder / "missing.png", folder / "*.webp"):
        with pytest.raises(ImageError):
            targets(nothing)


def test_two_inputs_with_one_output_are_refused(folder: Path) -> None:
    write_image(picture(), folder / "deep" / "a.png")
    with pytest.raises(OutputError, match=r"a\.png.*a\.png"):
        targets(folder / "a.png", folder / "deep" / "a.png")


def test_a_file_that_exists_is_a_file_whatever_characters_it_has(tmp_path: Path) -> None:
    for name in ("[Group] Title/a[1].png", "[Group] Title/deep/[x]/b.png", "G/c.png", "x/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(picture(), tmp_path / name)
    assert targets(tmp_path / "[Group] Title" / "a[1].png") == ["a[1].png"]
    assert targets(tmp_path / "[Group] Title" / "*.png") == ["a[1].png"]
    assert targets(tmp_path / "[Group] Title" / "**" / "*.png") == ["a[1].png", "deep/[x]/b.png"]
    assert targets(tmp_path / "*" / "deep" / "[x]" / "*.png") == ["[Group] Title/deep/[x]/b.png"]
    assert targets(tmp_path / "[Gx]" / "*.png") == ["G/c.png", "x/d.png"]


def test_a_file_that_is_found_twice_is_done_once(folder: Path) -> None:
    assert targets(folder / "a.png", folder / "*.png", folder) == ["a.png", "b.png", "deep/c.png", "deep/er/d.png"]
    assert targets(folder / "deep" / ".." / "a.png", folder / "a.png") == ["a.png"]


def test_names_that_differ_in_case_or_extension_give_two_names(tmp_path: Path) -> None:
    """Whether or not the file system of the results tells cases apart."""
    listed = [tmp_path / name for name in ("I.jpg", "I.JPG", "i.png", "i.jpg.png", "K.jpg", "A/x.jpg", "a/x.jpg")]
    with_case = [(path, path.relative_to(tmp_path)) for path in listed]
    for extension in (".png", None):
        names = [name.as_posix() for name in result_names(with_case, Path("out"), extension)]
        assert len({name.casefold() for name in names}) == len(listed), names
        assert "K.png" in names or extension is None
    accents = [(tmp_path / name, Path(name)) for name in ("e\u0301.png", "\u00e9.png")]
    assert len({unicodedata.normalize("NFC", str(name)) for name in result_names(accents, Path("out"), ".png")}) == 2


def test_what_is_passed_over_is_counted_and_named_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("1.gif", "2.gif", "3.gif", "4.gif", "raw.CR2", "notes.txt", ".x.gif"):
        (folder / name).write_bytes(b"")
    with caplog.at_level("WARNING", "paragonsr"):
        targets(folder)
    assert len(caplog.records) == 1
    assert "4 .gif (1.gif, 2.gif, 3.gif, ...)" in caplog.text
    assert "1 .cr2 (raw.CR2)" in caplog.text
    assert "txt" not in caplog.text
    with pytest.raises(ImageError, match=r"no pictures there.*1 \.cr2"):
        targets(folder / "*.CR2")


def test_animations_in_a_folder_are_passed_over(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.new("RGB", (8, 8), (index, 0, 0)) for index in range(3)]
    for name, kind in (("m.webp", "WEBP"), ("n.png", "PNG")):
        frames[0].save(folder / name, format=kind, save_all=True, append_images=frames[1:], lossless=True)
    summary = upscale_files(upscaler(), folder, tmp_path / "out")
    assert [path.name for path in summary.passed] == ["m.webp", "n.png"]
    assert (len(summary.done), summary.failed) == (2, [])
    assert "2 animations (m.webp, n.png)" in caplog.text


@pytest.mark.parametrize("extension", ["heic", "jxl"])
def test_plug_ins_are_used_where_they_are_installed(extension: str, tmp_path: Path) -> None:
    plug = next(plug for plug in PLUG_INS if f".{extension}" in plug.extensions)
    module = pytest.importorskip(plug.module)
    if plug.register:
        getattr(module, plug.register)()
    pixels = RNG.integers(100, 130, (16, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(pixels).save(tmp_path / f"a.{extension}", quality=95, exif=exif.tobytes())
    assert targets(tmp_path) == ["a.png"]
    read = read_image(tmp_path / f"a.{extension}")
    assert np.abs(read.pixels * 255 - pixels).mean() < 6
    assert read.info.exif is not None
    assert b"Maker" in read.info.exif
    jobs = plan([tmp_path], Path("out"), recursive=False, extension=None)
    assert [job.target.name for job in jobs] == ["a.png"]


def test_shards_share_everything_out_once(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(400)]
    owners = [[i for i in range(1, 9) if Shard(i, 8).has(name)] for name in names]
    assert all(len(owner) == 1 for owner in owners)
    counts = np.bincount([owner[0] for owner in owners], minlength=9)[1:]
    assert counts.min() > 25
    for text in ("0/8", "9/8", "1", "a/b", "1/0", "-1/3"):
        with pytest.raises(InvalidOptionError, match="shard"):
            Shard.parse(text)


def test_only_verified_outputs_are_skipped(folder: Path, tmp_path: Path) -> None:
    target, options = tmp_path / "out", FolderOptions(recursive=True, verify=True)
    assert len(upscale_files(upscaler(), folder, target, options=options).done) == 4
    whole = {path: path.stat().st_mtime_ns for path in target.rglob("*.png")}
    (target / "a.png").write_bytes((target / "a.png").read_bytes()[:-200])  # cut off by another program
    write_image(picture(3, 3), target / "b.png", overwrite=True)  # of another size
    Image.new("RGB", (20, 16)).save(target / "deep" / "c.png", format="JPEG")  # not what its name says
    summary = upscale_files(upscaler(), folder, target, options=options)
    assert [path.name for path in summary.skipped] == ["d.png"]
    assert sorted(path.name for path in summary.done) == ["a.png", "b.png", "c.png"]
    assert {read_image(path).size for path in whole} == {(20, 16)}


def test_without_verifying_nothing_that_exists_is_touched(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "a.png").write_text("mine")
    upscale_files(upscaler(), folder, target)
    assert (target / "a.png").read_text() == "mine"


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    code = "import os, sys; from paragon_arch.files.atomic import atomic_path\n"
    code += "with atomic_path(sys.argv[1]) as p: p.write_bytes(b'half'); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], cwd=ROOT, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_path(tmp_path / "b.png") as mine:
        mine.write_bytes(b"working on it")
        remove_leftovers(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    remove_leftovers(tmp_path / "missing")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_folder_leaves_no_partial_output_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(12):
        write_image(picture(60, 80), tmp_path / "in" / f"{index:02}.png")
    model = checkpoint(tmp_path / "2x.safetensors")
    command = [sys.executable, "-m", "deploy", "upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", model]
    with subprocess.Popen([*map(str, command)], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while len(list((tmp_path / "out").glob("[0-9]*.png"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
    first = list((tmp_path / "out").glob("[0-9]*.png"))
    assert {read_image(path).size for path in first} == {(160, 120)}
    summary = upscale_files(upscaler(), tmp_path / "in", tmp_path / "out", options=FolderOptions(verify=True))
    assert len(summary.skipped) >= len(first)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{index:02}.png" for index in range(12)]


@pytest.mark.slow
def test_eight_processes_share_a_folder(tmp_path: Path) -> None:
    """Each with its shard: every file is done once. All eight interpreters are real processes without torch's help."""
    (tmp_path / "in").mkdir()
    for index in range(40):
        write_image(picture(16, 16), tmp_path / "in" / f"{index:02}.png")
    model = checkpoint(tmp_path / "2x.safetensors")
    command = [sys.executable, "-m", "deploy", "upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", model]
    runs = [
        subprocess.Popen([*map(str, command), "--shard", f"{index}/8"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for index in range(1, 9)
    ]
    done = 0
    for process in runs:
        _, text = process.communicate(timeout=300)
        match = re.search(r"(\d+) upscaled, 0 skipped \(exist already\), 0 failed", text)
        assert process.returncode == 0 and match is not None, text  # noqa: PT018
        done += int(match[1])
    assert done == 40
    assert len(list((tmp_path / "out").iterdir())) == 40


def test_the_pipeline_overlaps_and_stays_bounded() -> None:
    """Loading runs ahead by a bounded number of items, in another thread, and so does saving lag behind."""
    loaded: list[int] = []
    saved: list[int] = []
    lead: list[int] = []
    threads: set[str] = set()
    outcome: dict[int, Exception | None] = {}

    def load(item: int) -> int:
        threads.add(threading.current_thread().name)
        loaded.append(item)
        if item == 3:
            raise ValueError("damaged")
        return item

    def work(item: int, value: int) -> int:
        time.sleep(0.01)
        lead.append(len(loaded) - len(saved))
        if item == 4:
            raise ImageError("no")
        return value * 10

    def save(item: int, value: int) -> None:
        assert value == item * 10
        threads.add(threading.current_thread().name)
        saved.append(item)
        if item == 5:
            raise OSError("disk full")

    run_pipeline(range(12), load=load, work=work, save=save, done=outcome.__setitem__)
    assert saved == [item for item in range(12) if item not in (3, 4)]
    assert {item: type(error) for item, error in outcome.items() if error} == {3: ValueError, 4: ImageError, 5: OSError}
    assert len(outcome) == 12
    assert max(lead) <= 8
    assert threading.current_thread().name not in threads


def test_cancelling_the_pipeline_keeps_what_was_done() -> None:
    saved: list[int] = []

    def work(item: int, value: int) -> int:
        if item == 4:
            raise CancelledError("stop")
        return value

    def save(item: int, value: int) -> None:
        saved.append(item)

    with pytest.raises(CancelledError):
        run_pipeline(range(100), load=lambda item: item, work=work, save=save, done=ignored)
    assert saved == [0, 1, 2, 3]


def ignored(_item: int, _error: Exception | None) -> None:
    """Nobody asks what became of the items."""


def test_prefetching_keeps_the_order_and_hands_on_errors() -> None:
    assert list(prefetched(iter(range(20)))) == list(range(20))

    def failing() -> Iterator[int]:
        yield 1
        raise ImageError("damaged")

    items = prefetched(failing())
    assert next(items) == 1
    with pytest.raises(ImageError, match="damaged"):
        next(items)


def test_a_comparison_shows_both_and_magnifies_the_detail(tmp_path: Path) -> None:
    pixels = np.full((64, 96, 3), 0.5, np.float32)
    pixels[40:60, 70:90] = RNG.random((20, 20, 3), dtype=np.float32)
    source = Picture(pixels, np.linspace(0, 1, 96, dtype=np.float32)[None].repeat(64, axis=0))
    result = upscale_picture(upscaler(), source)
    left, top, (width, height) = detailed_part(result.pixels, 40)
    assert left <= 140 + 20 <= left + width + 40
    assert top <= 80 + 20 <= top + height + 40
    shown = comparison(source, result)
    assert shown.shape[1] > 2 * 192
    assert shown.shape[0] > 128 + 2 * 128
    assert 0 <= shown.min() <= shown.max() <= 1


def test_comparisons_and_a_report_of_a_folder(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    summary = upscale_files(upscaler(), folder, target, options=FolderOptions(compare=True))
    assert sorted(path.name for path in target.iterdir()) == ["a.compare.jpg", "a.png", "b.compare.jpg", "b.png"]
    assert write_report([*summary.pairs, (folder / "gone.png", target / "gone.png")], tmp_path / "report.html") == 2
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    links = re.findall(r'src="([^"]+)"', page)
    assert len(links) == 8
    assert all((tmp_path / link).is_file() for link in links)
    assert page.count('type="range"') == 4
    with pytest.raises(OutputError):
        write_report(summary.pairs, tmp_path / "report.html")


def test_names_cannot_break_out_of_the_report(tmp_path: Path) -> None:
    name = "<img onerror=x>'\"&.png" if os.name != "nt" else "&'.png"
    write_image(picture(), tmp_path / name)
    write_report([(tmp_path / name, tmp_path / name)], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img onerror" not in page
    assert all((tmp_path / link).is_file() for link in map(_unquoted, re.findall(r'src="([^"]+)"', page)))


def _unquoted(link: str) -> str:
    import html
    from urllib.parse import unquote

    return unquote(html.unescape(link))


def test_progress_counts_failed_and_skipped_files_too(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    for _ in range(2):
        progress = Progress()
        upscale_files(upscaler(), folder, tmp_path / "out", progress=progress)
        assert (progress.total, round(progress.done, 6)) == (3, 3)
