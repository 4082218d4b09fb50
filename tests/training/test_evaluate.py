"""Scores: what is compared with what, and the table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from paragon_arch.errors import ImageError, InvalidOptionError
from paragon_engine.catalog import shipped_models
from training.__main__ import main
from training.config import ModelConfig
from training.data.pictures import synthetic_image
from training.evaluate import Score, evaluate, means, table
from training.export import export
from training.network import build


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in (0, 1):
        Image.fromarray(synthetic_image(61, seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = build(ModelConfig(alpha=0.0, init="data", detail_gain=0.0), seed=0)
    export(network, tmp_path / "untrained.safetensors", overwrite=False)
    return tmp_path / "untrained.safetensors"


def test_a_model_without_details_scores_like_the_base(model: Path, pictures: Path) -> None:
    scores = {score.method: score for score in means(evaluate([model], pictures))}
    assert list(scores) == ["bicubic", "Lanczos", "Magic base", "untrained"]
    base, ours = scores["Magic base"], scores["untrained"]
    assert (ours.psnr, ours.ssim, ours.frame) == pytest.approx((base.psnr, base.ssim, base.frame), abs=1e-3)
    assert scores["Lanczos"].psnr > scores["bicubic"].psnr > base.psnr
    assert scores["bicubic"].frame > base.frame + 3  # zero padding darkens the base's border


def test_reducing_makes_other_references(pictures: Path) -> None:
    whole, half = (means(evaluate([], pictures, reduce=n, scale=2))[0] for n in (1, 2))
    assert whole.psnr != half.psnr


def test_the_scale_must_be_known(pictures: Path, model: Path) -> None:
    with pytest.raises(InvalidOptionError, match="--scale"):
        evaluate([], pictures)
    with pytest.raises(ImageError, match="no pictures"):
        evaluate([model], model.parent / "nowhere")


def test_table_shows_the_gain_over_bicubic() -> None:
    scores = [Score("bicubic", "a", 30.0, 0.9, 20.0), Score("ours", "a", 31.5, 0.95, 21.0)]
    assert "| mean | ours | 31.50 | +1.50 | 0.9500 | 21.00 |" in table(scores, pictures=False)
    assert "| a | ours |" in table(scores, pictures=True)


def test_one_command_measures_every_shipped_model(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scores", "--folder", str(pictures)]) == 0
    printed = capsys.readouterr().out
    assert all(f"| mean | {shipped.path.stem} |" in printed for shipped in shipped_models())
    assert printed.count("## 2x") == printed.count("## 4x") == 2


def test_command_line_prints_the_table(model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    assert main(["--threads", "1", "evaluate", str(model), "--folder", str(pictures)]) == 0
    assert "| mean | untrained |" in capsys.readouterr().out
    torch.set_num_threads(threads)
    assert main(["evaluate", "--folder", str(pictures)]) == 1
    assert "error: name a model" in capsys.readouterr().err
