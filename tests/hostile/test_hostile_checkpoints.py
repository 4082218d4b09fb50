"""Every broken file gives one clear typed error, quickly, and runs nothing."""

from __future__ import annotations

import io
import pickle
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from paragon_arch.errors import CheckpointNotFoundError, ParagonError
from paragon_arch.files.checkpoint import read_checkpoint
from tests.hostile.generated import ALWAYS_REFUSED, write_all
from tests.hostile.hostile_files import FILES
from tests.hostile.hostile_pickles import PICKLES, Case
from tests.measuring import Outcome, note_outcomes, open_all

CASES = PICKLES + FILES
_SECONDS = 2.0
_BYTES = 512 * 2**20


def test_there_are_enough_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 120


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile(case: Case, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / case.name
    path.write_bytes(case.make(marker))
    started = time.process_time()
    with pytest.raises(ParagonError) as caught:
        read_checkpoint(path)
    assert time.process_time() - started < _SECONDS
    assert type(caught.value) is case.error
    assert case.word in str(caught.value)
    assert str(path) in str(caught.value)
    assert not marker.exists()


class _NaiveUnpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        return pid


@pytest.mark.parametrize(
    "name", ["os_system.pth", "builtins_eval.pth", "stack_global_memo.pth", "opcode_inst.pth", "opcode_obj.pth"]
)
def test_the_attacks_are_real(name: str, tmp_path: Path) -> None:
    """The same bytes do run code in the ordinary unpickler, so that the absent marker above means something."""
    marker = tmp_path / "marker"
    data = next(case for case in CASES if case.name == name).make(marker)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        _NaiveUnpickler(io.BytesIO(archive.read("archive/data.pkl"))).load()
    assert marker.exists()


@pytest.mark.parametrize("name", ["missing.pth", "", "a\0b.pth", "n" * 300 + ".pth", "file/below.pth"])
def test_no_such_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(CheckpointNotFoundError, match=r"no such file|directory"):
        read_checkpoint(f"{tmp_path}/{name}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Duplicate name:UserWarning")
def test_named_files_in_a_process_that_is_measured(tmp_path: Path) -> None:
    """By the entry point that users call, with the memory of each."""
    folder = tmp_path / "files"
    folder.mkdir()
    for case in CASES:
        (folder / case.name).write_bytes(case.make(tmp_path / "marker"))
    outcomes = open_all("checkpoint", folder)
    assert {case.name: case.error.__name__ for case in CASES} == {name: x.error for name, x in outcomes.items()}
    assert_cheap(outcomes)
    assert not (tmp_path / "marker").exists()
    note_outcomes("checkpoints, named", outcomes, "refused with the expected error")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("count", [600, pytest.param(2000, marks=pytest.mark.exhaustive)])
def test_generated_files(count: int, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    write_all(folder, count, tmp_path / "marker")
    outcomes = open_all("checkpoint", folder)
    assert len(outcomes) == count
    untyped = {name: (x.error, x.message) for name, x in outcomes.items() if x.error and not x.typed}
    assert not untyped
    accepted = [name for name, x in outcomes.items() if not x.error]
    assert not [name for name in accepted if name.startswith(ALWAYS_REFUSED)]
    assert len(accepted) < count / 4
    assert_cheap(outcomes)
    assert not (tmp_path / "marker").exists()
    note_outcomes(
        "checkpoints, generated", outcomes, f"{count - len(accepted)} refused, {len(accepted)} sound after all"
    )


def assert_cheap(outcomes: dict[str, Outcome]) -> None:
    """Within the limits of time and memory, each."""
    assert {name: x.seconds for name, x in outcomes.items() if x.seconds >= _SECONDS} == {}
    assert {name: x.peak for name, x in outcomes.items() if x.peak >= _BYTES} == {}
