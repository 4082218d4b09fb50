"""Pictures, files and folders through a real network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from paragon_arch.errors import CancelledError, ImageError, InvalidOptionError, OutputError, OutputExistsError
from paragon_engine import Upscaler
from paragon_engine.jobs import FolderOptions, FolderSummary, plan, upscale_files
from paragon_engine.pictures import Picture, Pixels, read_image, write_image
from paragon_engine.pictures.alpha import bleed, within_neighbourhood
from paragon_engine.progress import Progress, TerminalProgress, duration
from paragon_engine.upscale import UpscaleSettings, upscale_file, upscale_picture
from tests.devices import DEVICE
from tests.engine_models import descriptor, upscaler

RNG = np.random.default_rng(0)


def picture(height: int = 20, width: int = 28, channels: int = 3) -> Picture:
    return Picture(RNG.random((height, width, channels), dtype=np.float32))


def disc(size: int = 48) -> Pixels:
    """A soft-edged disc: opaque inside, empty outside."""
    y, x = np.mgrid[:size, :size].astype(np.float32) - (size - 1) / 2
    return (size / 3 - np.hypot(x, y) + 0.5).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_size_and_channels(scale: int, channels: int) -> None:
    result = upscale_picture(upscaler(scale=scale), picture(channels=channels))
    assert result.size == (28 * scale, 20 * scale)
    assert result.is_gray == (channels == 1)
    assert result.pixels.dtype == np.float32
    assert 0 <= result.pixels.min() <= result.pixels.max() <= 1


def test_rgb_equals_the_plain_network() -> None:
    model, source = descriptor(), picture()
    expected = (
        model(torch.from_numpy(source.pixels).permute(2, 0, 1)[None].to(DEVICE))[0].cpu().permute(1, 2, 0).numpy()
    )
    assert np.abs(upscale_picture(Upscaler(model), source).pixels - expected).max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_a_one_channel_model_serves_every_picture(channels: int) -> None:
    model, source = descriptor(in_channels=1), picture(channels=channels)
    result = upscale_picture(Upscaler(model), source)
    assert result.pixels.shape == (40, 56, channels)
    last = model(torch.from_numpy(source.pixels[..., -1])[None, None].to(DEVICE))[0, 0].cpu().numpy()
    assert np.abs(result.pixels[..., -1] - last).max() < 1e-6


def test_a_four_channel_model_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="4 channels"):
        upscale_picture(upscaler(in_channels=4), picture())


@pytest.mark.parametrize("outscale", [0.5, 1, 1.5, 2, 3.7])
def test_any_output_factor(outscale: float) -> None:
    flat = Picture(np.full((20, 30, 3), 0.25, np.float32))
    result = upscale_picture(upscaler(), flat, UpscaleSettings(outscale=outscale))
    assert result.size == (round(30 * outscale), round(20 * outscale))


def test_resizing_after_the_model_is_antialiased() -> None:
    """A pattern at the output's Nyquist limit must become gray, not beats."""
    checks = np.indices((64, 64)).sum(0)[..., None] % 2
    model = upscaler(scale=1, alpha=0.0)
    result = upscale_picture(model, Picture(checks.astype(np.float32)), UpscaleSettings(outscale=0.3))
    assert result.pixels[3:-3, 3:-3].std() < 0.05


@pytest.mark.parametrize("outscale", [0, -1, 65, float("nan")])
def test_senseless_factors_are_refused(outscale: float) -> None:
    with pytest.raises(InvalidOptionError, match="outscale"):
        upscale_picture(upscaler(), picture(), UpscaleSettings(outscale=outscale))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_uniform_alpha_stays_exactly_what_it_is(value: float) -> None:
    source = picture(24, 24)
    result = upscale_picture(upscaler(), Picture(source.pixels, np.full((24, 24), value, np.float32)))
    assert result.alpha is not None
    assert result.alpha.shape == (48, 48)
    assert np.all(result.alpha == np.float32(value))


def test_opaque_stays_opaque_and_empty_stays_empty_around_an_edge() -> None:
    alpha = disc()
    result = upscale_picture(upscaler(), Picture(np.full((48, 48, 3), 0.8, np.float32), alpha)).alpha
    assert result is not None
    grown, shrunk = (
        np.asarray(Image.fromarray(mask).resize((96, 96), Image.Resampling.NEAREST))
        for mask in (_maximum(alpha), _minimum(alpha))
    )
    assert np.all(result[grown == 0] == 0)
    assert np.all(result[shrunk == 1] == 1)
    assert np.any((result > 0) & (result < 1))


def _maximum(alpha: Pixels) -> Pixels:
    padded = np.pad(alpha, 1, mode="edge")
    shifts = [padded[i : i + alpha.shape[0], j : j + alpha.shape[1]] for i in range(3) for j in range(3)]
    return np.max(shifts, axis=0)


def _minimum(alpha: Pixels) -> Pixels:
    return 1 - _maximum(1 - alpha)


def test_colours_hidden_under_transparency_leave_no_fringe() -> None:
    """A white disc on transparent black is the classic case: over white it must look white everywhere."""
    alpha = disc()
    white = np.where(alpha[..., None] > 0, 1, 0).astype(np.float32).repeat(3, axis=2)
    model = upscaler()
    result = upscale_picture(model, Picture(white, alpha))
    reference = upscale_picture(model, Picture(np.ones_like(white)))  # what the network makes of plain white
    assert result.alpha is not None
    over_white = result.pixels * result.alpha[..., None] + (1 - result.alpha[..., None])
    assert over_white.min() >= reference.pixels.min() - 1e-5


def test_bleeding_leaves_visible_colours_alone_and_fills_the_rest() -> None:
    colour = torch.rand(1, 3, 17, 1, generator=torch.Generator().manual_seed(0))
    alpha = torch.zeros(1, 1, 17, 1)
    alpha[..., 5:7, :] = 0.5
    filled = bleed(colour, alpha)
    assert torch.equal(filled[..., 5:7, :], colour[..., 5:7, :])
    low, high = colour[..., 5:7, :].amin(dim=2, keepdim=True), colour[..., 5:7, :].amax(dim=2, keepdim=True)
    assert bool(((filled >= low - 1e-6) & (filled <= high + 1e-6)).all())
    assert torch.equal(bleed(colour, torch.zeros_like(alpha)), colour)


def test_alpha_cannot_leave_the_range_of_its_neighbourhood() -> None:
    alpha = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).expand(1, 1, 6, 6)
    limited = within_neighbourhood(torch.full((1, 1, 12, 12), 0.7), alpha, 2)
    assert limited[0, 0, 0].tolist() == pytest.approx([0] * 5 + [0.7] * 2 + [1] * 5)


def test_metadata_comes_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.new("RGB", (16, 16), (10, 200, 30)).save(tmp_path / "a.jpg", exif=exif)
    upscale_file(upscaler(), tmp_path / "a.jpg", tmp_path / "b.png")
    result: Image.Image = Image.open(tmp_path / "b.png")
    with result:
        assert result.size == (32, 32)
        assert result.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_never_replaces_its_own_input(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "a.png"
    write_image(picture(), path)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError):
        upscale_file(upscaler(), path, path, overwrite=overwrite)
    assert path.read_bytes() == before


def test_impossible_outputs_are_refused_before_the_work(tmp_path: Path) -> None:
    write_image(Picture(picture(8, 8).pixels, disc(8)), tmp_path / "a.png")

    def forbidden(*_: Any) -> None:
        raise AssertionError("the network ran")

    model = upscaler()
    model.module().forward = forbidden
    with pytest.raises(OutputError, match="transparency"):
        upscale_file(model, tmp_path / "a.png", tmp_path / "a.jpg")


def test_cancelling_leaves_nothing_behind(tmp_path: Path) -> None:
    write_image(picture(64, 64), tmp_path / "a.png")
    progress = Progress()
    progress.cancel()
    with pytest.raises(CancelledError):
        upscale_file(upscaler(), tmp_path / "a.png", tmp_path / "b.png", progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    (source / "deep" / "er").mkdir(parents=True)
    for name in ("a.png", "b.bmp", "deep/c.tif", "deep/er/d.webp"):
        write_image(picture(8, 10), source / name)
    (source / "bad.png").write_bytes(b"no picture")
    (source / "notes.txt").write_text("not a picture either")
    return source


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_done_but_for_its_bad_files(tree: Path) -> None:
    target = tree.parent / "out"
    summary = upscale_files(upscaler(), tree, target)
    assert names(target) == {"a.png", "b.png"}
    assert [path.name for path, _ in summary.failed] == ["bad.png"]
    assert isinstance(summary.failed[0][1], ImageError)
    assert read_image(target / "a.png").size == (20, 16)
    assert str(summary) == "2 upscaled, 0 skipped (exist already), 1 failed"


def test_a_tree_is_mirrored_and_formats_can_be_kept(tree: Path) -> None:
    target = tree.parent / "out"
    upscale_files(upscaler(), tree, target, options=FolderOptions(recursive=True, extension=None))
    assert names(target) == {"a.png", "b.bmp", "deep/c.tif", "deep/er/d.webp"}


def test_existing_results_are_skipped_or_replaced(tree: Path) -> None:
    target = tree.parent / "out"
    target.mkdir()
    (target / "a.png").write_text("mine")
    summary = upscale_files(upscaler(), tree, target)
    assert summary.skipped == [target / "a.png"]
    assert (target / "a.png").read_text() == "mine"
    summary = upscale_files(upscaler(), tree, target, options=FolderOptions(overwrite=True))
    assert not summary.skipped
    assert read_image(target / "a.png").size == (20, 16)


def test_results_inside_the_input_folder_are_not_upscaled_again(tree: Path) -> None:
    for _ in range(2):
        summary = upscale_files(upscaler(), tree, tree / "out", options=FolderOptions(recursive=True))
    assert len(summary.skipped) == 4  # pyright: ignore[reportPossiblyUnboundVariable]
    assert len(names(tree / "out")) == 4


def test_pictures_that_differ_in_extension_alone_keep_apart(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "A.tif", "b.png"):
        write_image(picture(4, 4), tmp_path / name)
    jobs = plan([tmp_path], tmp_path / "out", recursive=False, extension=".png")
    outputs = [job.target.name for job in jobs]
    assert sorted(outputs) == ["A.tif.png", "a.bmp.png", "a.png.png", "b.png"]


@pytest.mark.parametrize("target", ["in", "file"])
def test_unusable_targets_of_a_folder(tree: Path, target: str) -> None:
    (tree.parent / "file").write_text("")
    with pytest.raises(OutputError):
        upscale_files(upscaler(), tree, tree.parent / target)


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no pictures"):
        upscale_files(upscaler(), tmp_path, tmp_path / "out")


def test_progress_of_a_folder_reaches_the_end_whatever_fails(tree: Path) -> None:
    progress = Progress()
    upscale_files(upscaler(), tree, tree.parent / "out", options=FolderOptions(recursive=True), progress=progress)
    assert (progress.total, round(progress.done, 9)) == (5, 5)


def test_terminal_progress_is_plain_lines_without_a_terminal() -> None:
    from io import StringIO

    stream = StringIO()
    progress = TerminalProgress(stream)
    progress.start(4, label="a.png", unit="files")
    for _ in range(4):
        progress.advance()
    progress.finish()
    assert stream.getvalue() == ""  # faster than one line in ten seconds
    assert progress.line().startswith("a.png  100%  4/4 files  ")
    assert progress.line().endswith("0 s left")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1:01"), (3723, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_empty_summary_says_so() -> None:
    assert str(FolderSummary()) == "0 upscaled, 0 skipped (exist already), 0 failed"
