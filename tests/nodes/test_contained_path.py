"""File names out of a workflow that somebody else made."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.contained_path import contained_path
from paragon_arch.errors import InvalidOptionError


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("model", "model.safetensors"),
        (" model.safetensors ", "model.safetensors"),
        ("model.SAFETENSORS", "model.SAFETENSORS"),
        ("2x_model.v1", "2x_model.v1.safetensors"),
        ("mine/model", "mine/model.safetensors"),
        ("mine\\model", "mine/model.safetensors"),
        ("mine/../model", "model.safetensors"),
    ],
)
def test_a_name_inside_the_folder(tmp_path: Path, name: str, file: str) -> None:
    assert contained_path(tmp_path, name, suffix=".safetensors") == (tmp_path / file).resolve()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "../model",
        "mine/../../model",
        "..\\..\\model",
        "/etc/model",
        "//server/share/model",
        "",
        "  ",
        "mine/",
        "a\0b",
        "C:model",
        "a:b",
        "\ud800",
    ],
)
def test_a_name_that_leads_out_of_the_folder_or_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidOptionError, match="file name"):
        contained_path(tmp_path / "models", name, suffix=".safetensors")


def test_a_folder_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="leads out"):
        contained_path(tmp_path / "models", "../models_of_others/x", suffix=".safetensors")


def test_a_symbolic_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(InvalidOptionError, match="leads out"):
        contained_path(tmp_path / "models", "link/model", suffix=".safetensors")
