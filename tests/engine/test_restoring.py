"""How much to restore: pairs of the catalogue, what is chosen for a picture, and the commands that offer it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import paragon_arch
from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_arch import FamilyModel
from paragon_arch.errors import InvalidOptionError
from paragon_engine.catalog import find_model, shipped_models
from paragon_engine.model_source import ModelSource
from paragon_engine.pictures import read_image
from paragon_engine.restoring import Restorer, pair_of, suited, twins_of, usual
from paragon_engine.upscaler import Upscaler
from tests.engine.test_picture_damage import photograph, picture, through_jpeg
from tests.engine_models import checkpoint

CLEAN = "2x-ParagonSR2-Realtime-v1"
RESTORING = "2x-ParagonSR2-Realtime-Restore-v1"
ALONE = next(model.path.stem for model in shipped_models() if not model.twin)


def weights(model: FamilyModel) -> dict[str, torch.Tensor]:
    return model.model.state_dict()


def identity(model: FamilyModel) -> FamilyModel:
    return model


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(photograph(64)).save(tmp_path / "photo.jpg", quality=40)
    return tmp_path / "photo.jpg"


def test_pairs_are_known_by_content() -> None:
    clean, restoring = pair_of(find_model(CLEAN))
    assert (clean.path.stem, restoring.path.stem) == (CLEAN, RESTORING)
    assert twins_of(restoring.path) == (clean, restoring)
    assert twins_of(find_model(ALONE)) is None


def test_a_copy_counts_and_another_file_of_the_name_does_not(tmp_path: Path) -> None:
    path = find_model(CLEAN)
    (tmp_path / "copy").mkdir()
    shutil.copy(path, tmp_path / "copy")
    assert twins_of(tmp_path / "copy" / path.name) is not None
    assert twins_of(checkpoint(tmp_path / path.name)) is None


def test_clean_models_restore_as_needed_and_all_others_are_used_as_they_are(tmp_path: Path) -> None:
    assert usual(find_model(CLEAN)) == "auto"
    assert usual(find_model(RESTORING)) is None
    assert usual(find_model(ALONE)) is None
    assert usual(checkpoint(tmp_path / "own.safetensors")) is None


def test_a_number_for_a_model_without_twin_names_those_that_have_one() -> None:
    with pytest.raises(InvalidOptionError, match=f"{ALONE}.*{CLEAN}"):
        ModelSource(find_model(ALONE), device="cpu", restore=0.5).load()
    assert not isinstance(ModelSource(find_model(ALONE), device="cpu", restore="auto").load(), Restorer)


def test_a_strength_is_the_blend_of_the_pair() -> None:
    pair = pair_of(find_model(CLEAN))
    ends = [weights(paragon_arch.open_model(model.path)) for model in pair]
    for start in (CLEAN, RESTORING):
        upscaler = ModelSource(find_model(start), device="cpu", restore=0.25).load()
        assert isinstance(upscaler, Upscaler)
        for key, value in upscaler.subject.network.state_dict().items():
            torch.testing.assert_close(value, torch.lerp(ends[0][key], ends[1][key], 0.25), atol=1e-6, rtol=1e-5)


def test_blends_are_made_once() -> None:
    made: list[FamilyModel] = []
    restorer = Restorer(pair_of(find_model(CLEAN)), lambda model: made.append(model) or model)
    damaged = picture(through_jpeg(photograph(), 40))
    clean = picture(photograph())
    for _ in range(3):
        assert suited(restorer, clean, "a") is restorer.at(0.0)
        assert suited(restorer, damaged, "a") is restorer.at(1.0)
    assert len(made) == 2
    assert suited(made[0], damaged, "a") is made[0]


def test_what_was_found_and_chosen_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    restorer = Restorer(pair_of(find_model(CLEAN)), identity)
    damaged = picture(through_jpeg(photograph(), 40))
    with caplog.at_level(logging.INFO, logger="paragonsr"):
        restorer.suiting(damaged, "a.png")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].startswith("a.png: JPEG quality ")
    assert lines[0].endswith("; restored by 1.00")


def test_upscale_restores_a_jpeg_and_leaves_a_clean_png(photo: Path, tmp_path: Path) -> None:
    Image.fromarray(photograph(64)).save(tmp_path / "clean.png")
    for source, model, same in ((photo, RESTORING, True), (photo, CLEAN, False), (tmp_path / "clean.png", CLEAN, True)):
        out, by = tmp_path / f"{source.stem}_auto.png", tmp_path / f"{source.stem}_{model}.png"
        assert run("upscale", source, "-o", out, "--overwrite", "--quiet") == 0
        assert run("upscale", source, "-o", by, "--model", model, "--restore", int(model == RESTORING), "--quiet") == 0
        assert np.array_equal(read_image(out).pixels, read_image(by).pixels) == same


def test_a_folder_and_its_report_say_what_was_chosen(photo: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    (tmp_path / "in").mkdir()
    shutil.move(photo, tmp_path / "in")
    assert run("upscale", tmp_path / "in", "-o", tmp_path / "out", "--report", page, "--quiet") == 0
    assert "JPEG quality 40; restored by 1.00" in page.read_text(encoding="utf-8")


def test_the_commands_refuse_what_cannot_be(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    assert run("upscale", photo, "-o", out, "--model", ALONE, "--restore", "0.5") == ExitCode.OPTION
    assert CLEAN in capsys.readouterr().err
    for text in ("2", "-1", "nan", "much"):
        with pytest.raises(SystemExit):
            run("upscale", photo, "-o", out, f"--restore={text}")
    assert not out.exists()


def test_the_command_blend_writes_a_model_and_nothing_unasked(tmp_path: Path) -> None:
    out = tmp_path / "half.safetensors"
    arguments = ("blend", CLEAN, RESTORING, "--weight", "0.5", "-o", out)
    assert run(*arguments) == 0
    report = paragon_arch.inspect(out)
    assert '"weight": 0.5' in report.blend
    assert report.values["alpha"].value == 0
    before = out.read_bytes()
    assert run(*arguments) == ExitCode.OUTPUT
    assert run("blend", out, CLEAN, "--weight", "1", "-o", out, "--overwrite") == ExitCode.OUTPUT
    assert run("blend", CLEAN, ALONE, "--weight", "0.5", "-o", tmp_path / "no.safetensors") == ExitCode.OPTION
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.safetensors"]
