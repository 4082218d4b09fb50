"""Hostile pictures and videos: refused or read, never a crash, within bounds of time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.hostile_pictures import BOUNDED, REFUSED, WHOLE, cuts, texts, video
from tests.measuring import Outcome, note_outcomes, open_all

SECONDS = 10.0
"""A million text chunks take Pillow a few seconds."""
BYTES = 2**30
SMALL = 128 * 2**20
"""A cut picture of 64 x 48 pixels has no reason to take more."""


def untyped(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Errors that are not ours."""
    return {name: f"{x.error}: {x.message}" for name, x in outcomes.items() if x.error and not x.typed}


@pytest.mark.parametrize("million", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_bombs(million: bool, tmp_path: Path) -> None:
    files = REFUSED | BOUNDED | ({"million_texts.png": lambda: texts(1_000_000)} if million else {})
    for name, make in files.items():
        (tmp_path / name).write_bytes(make())
    outcomes = open_all("image", tmp_path)
    assert len(outcomes) == len(files)
    assert not untyped(outcomes)
    assert [name for name in REFUSED if not outcomes[name].error] == []
    assert {name: x.seconds for name, x in outcomes.items() if x.seconds >= SECONDS} == {}
    assert {name: x.peak for name, x in outcomes.items() if x.peak >= BYTES} == {}
    note_outcomes("pictures: bombs and absurd metadata", outcomes, f"{len(REFUSED)} refused, the others within bounds")


@pytest.mark.parametrize("parts", [16, pytest.param(256, marks=pytest.mark.exhaustive)])
def test_cut_pictures(parts: int, tmp_path: Path) -> None:
    for name, make in WHOLE.items():
        whole = make()
        for index, data in cuts(whole, parts):
            (tmp_path / f"{index:03}_{name}").write_bytes(data)
        (tmp_path / f"whole_{name}").write_bytes(whole)
    outcomes = open_all("image", tmp_path)
    assert len(outcomes) == (parts + 1) * len(WHOLE)
    assert not untyped(outcomes)
    assert [name for name, x in outcomes.items() if name.startswith("whole") and x.error] == []
    accepted = [name for name, x in outcomes.items() if not x.error and not name.startswith("whole")]
    assert len(accepted) <= 0.05 * len(outcomes), accepted  # what is cut off may be metadata alone
    assert max(x.peak for x in outcomes.values()) < SMALL
    note_outcomes("pictures cut off", outcomes, f"{len(outcomes) - len(accepted) - len(WHOLE)} refused")


@pytest.mark.parametrize("parts", [16, pytest.param(256, marks=pytest.mark.exhaustive)])
def test_cut_videos(parts: int, tmp_path: Path) -> None:
    """A cut video may give the frames that are there."""
    pytest.importorskip("av")
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("a.mp4", "b.mkv", "c.webm"):
        for index, data in cuts(video(tmp_path / name), parts):
            (folder / f"{index:03}_{name}").write_bytes(data)
    outcomes = open_all("video", folder)
    assert len(outcomes) == 3 * parts
    assert not untyped(outcomes)
    assert sum(bool(x.error) for x in outcomes.values()) >= parts  # without its index at the end an mp4 is none
    assert max(x.peak for x in outcomes.values()) < BYTES
    note_outcomes("videos cut off", outcomes, "refused, or the frames that are there")
