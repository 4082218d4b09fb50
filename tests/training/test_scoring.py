"""Scores on standard sets: MATLAB's bicubic, conditions, squares, and whose files can be read."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from PIL import Image

from paragon_arch.errors import CheckpointError, InvalidOptionError
from paragon_engine.catalog import shipped_models
from paragon_engine.metrics import psnr_y
from training.__main__ import main
from training.data.imresize import imresize
from training.data.pictures import Pixels, synthetic_image
from training.evaluate import references
from training.scoring.conditions import CONDITIONS, degraded
from training.scoring.methods import bicubic, open_method
from training.scoring.squares import LIMIT, dot_share, step_ratio
from training.scoring.standard import score_standard, standard_table

IMAGE = synthetic_image(48, 3)


def nearest(scale: int, low: Pixels) -> Pixels:
    return low.repeat(scale, axis=0).repeat(scale, axis=1)


@pytest.mark.parametrize(("name", "scale", "published"), [("Set5", 2, 33.68), ("Set5", 4, 28.43), ("Set14", 4, 26.09)])
def test_bicubic_scores_what_is_published(root: Path, name: str, scale: int, published: float) -> None:
    folder = root.parent / "shared" / "testsets" / name
    if not folder.is_dir():
        assert not (os.environ.get("CI") and folder.parent.is_dir())
        pytest.skip(f"{name} is not there")
    pictures = references(folder, scale, 1).values()
    scores = [psnr_y(imresize(imresize(p, Fraction(1, scale)), scale), p, border=scale) for p in pictures]
    assert fmean(scores) == pytest.approx(published, abs=0.006)


def test_imresize_keeps_flat_areas_and_sums() -> None:
    flat = np.full((13, 9, 3), 77, np.uint8)
    assert np.array_equal(imresize(flat, 3), np.full((39, 27, 3), 77, np.uint8))
    assert imresize(flat, Fraction(1, 2)).shape == (7, 5, 3)  # sides are rounded up
    assert abs(float(imresize(IMAGE, Fraction(1, 2)).mean()) - float(IMAGE.mean())) < 1


def test_imresize_is_torchs_antialiased_bicubic_inside() -> None:
    tensor = torch.tensor(IMAGE).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(tensor, scale_factor=0.5, mode="bicubic", antialias=True)
    inside = expected[0].permute(1, 2, 0).numpy()[4:-4, 4:-4].clip(0, 255)
    assert np.abs(imresize(IMAGE, Fraction(1, 2))[4:-4, 4:-4] - inside).max() <= 0.51


def test_conditions_repeat_and_get_worse() -> None:
    clean = degraded(IMAGE, 2, "clean")
    for condition in CONDITIONS:
        assert np.array_equal(degraded(IMAGE, 2, condition), degraded(IMAGE, 2, condition))
    off = {name: float(np.abs(degraded(IMAGE, 2, name).astype(int) - clean).mean()) for name in CONDITIONS}
    assert off["jpeg50"] > off["jpeg75"] > 0.5
    assert min(off["noise"], off["blur"]) > 0.5
    with pytest.raises(InvalidOptionError, match="jpeg75"):
        degraded(IMAGE, 2, "jpeg")


@pytest.mark.parametrize("scale", [2, 4])
def test_squares_are_seen(scale: int) -> None:
    assert step_ratio(nearest(scale, IMAGE), scale) == np.inf
    assert step_ratio(np.full((8, 8, 3), 9, np.uint8), scale) == 1
    assert step_ratio(bicubic(scale)(IMAGE), scale) < 2
    squares, smooth = dot_share(lambda low: nearest(scale, low), scale), dot_share(bicubic(scale), scale)
    assert squares == 1
    assert squares > LIMIT * smooth


def test_a_picture_that_was_not_enlarged_has_no_grid() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    assert step_ratio(noise, 2) == pytest.approx(1, abs=0.02)


def test_files_of_other_programs_are_read(tmp_path: Path) -> None:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    network = SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=1, upscale=2)
    torch.save(network.state_dict(), tmp_path / "compact.pth")
    scale, upscale = open_method(tmp_path / "compact.pth")
    assert scale == 2
    assert upscale(IMAGE).shape == (96, 96, 3)
    (tmp_path / "none.pth").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"none\.pth"):
        open_method(tmp_path / "none.pth")


def test_files_of_ncnn_are_read(tmp_path: Path) -> None:
    path = tmp_path / "twice.param"
    layers = ["Input data 0 1 in", "Interp up 1 1 in out 0=1 1=2.0 2=2.0"]
    path.write_text("\n".join(["7767517", "2 2", *layers]) + "\n")
    with pytest.raises((CheckpointError, InvalidOptionError), match="twice"):
        open_method(path)
    path.with_suffix(".bin").write_bytes(b"")
    pytest.importorskip("ncnn")
    scale, upscale = open_method(path)
    assert scale == 2
    assert np.array_equal(upscale(IMAGE), nearest(2, IMAGE))


def test_sets_are_scored_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "Set2"
    folder.mkdir()
    for seed in (0, 1):
        Image.fromarray(synthetic_image(36, seed)).save(folder / f"{seed}.png")
    model = next(shipped.path for shipped in shipped_models() if shipped.scale == 2)
    assert main(["scores", str(folder), "--only", "--model", str(model), "--conditions", "clean", "jpeg50"]) == 0
    printed = capsys.readouterr().out
    assert "## Set2, 2x" in printed
    assert "| method | clean | jpeg50 |" in printed
    assert printed.count(f"| {model.stem} |") == 2
    scores = {score.method: score for score in score_standard([folder], [model], ["clean"])}
    assert scores[model.stem].psnr > scores["bicubic"].psnr
    assert f"{scores[model.stem].psnr:.2f} / " in standard_table(list(scores.values()))
    with pytest.raises(InvalidOptionError, match="rename one"):
        score_standard([folder], [model, model], ["clean"])


def test_ssimulacra2_is_a_column(tmp_path: Path) -> None:
    pytest.importorskip("ssimulacra2")
    folder = tmp_path / "Set1"
    folder.mkdir()
    Image.fromarray(IMAGE).save(folder / "a.png")
    model = next(shipped.path for shipped in shipped_models() if shipped.scale == 2)
    scores = score_standard([folder], [model], ["clean"], ssimulacra2=True)
    assert all(score.ssimulacra2 is not None and score.ssimulacra2 < 100 for score in scores)
