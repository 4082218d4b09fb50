"""Every broken file gives one clear typed error, quickly, and runs nothing."""

from __future__ import annotations

import io
import pickle
import random
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from paragon_arch.errors import CheckpointError, CheckpointNotFoundError, ParagonError
from paragon_arch.files.checkpoint import read_checkpoint
from tests.hostile.hostile_files import FILES
from tests.hostile.hostile_pickles import PICKLES, Case

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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["endless.pth", "huge_pickle.pth", "zip_bomb.pth", "header_deep.safetensors"])
def test_memory_stays_bounded(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(next(case for case in CASES if case.name == name).make(tmp_path / "marker"))
    tracemalloc.start()
    try:
        with pytest.raises(ParagonError):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < _BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["missing.pth", "", "a\0b.pth", "n" * 300 + ".pth", "file/below.pth"])
def test_no_such_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(CheckpointNotFoundError, match=r"no such file|directory"):
        read_checkpoint(f"{tmp_path}/{name}")


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3),
        "conv.bias": torch.randn(4).half(),
        "flag": torch.tensor(True),
        "index": torch.arange(9).reshape(3, 3),
    }


def _valid(kind: str) -> bytes:
    if kind == "safetensors":
        return save(_state(), {"format": "pt", "paragonsr.scale": "2"})
    buffer = io.BytesIO()
    torch.save({"params_ema": _state(), "epoch": 3}, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


def _mutated(data: bytes, source: random.Random) -> bytes:
    """Flip bits, overwrite, cut, repeat or remove a piece."""
    mutant = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 8))):
        at = source.randrange(len(mutant))
        length = source.randrange(1, 9)
        match source.randrange(5):
            case 0:
                mutant[at] ^= 1 << source.randrange(8)
            case 1:
                mutant[at : at + length] = source.randbytes(length)
            case 2:
                del mutant[max(1, at) :]
            case 3:
                mutant[at:at] = mutant[at : at + length]
            case _:
                if len(mutant) > length:
                    del mutant[at : at + length]
    return bytes(mutant)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_mutations(kind: str, seed: int, tmp_path: Path) -> None:
    data = _valid(kind)
    source = random.Random(f"{kind} {seed}")
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pth")
    refused = 0
    for _ in range(100):
        path.write_bytes(_mutated(data, source))
        try:
            state = read_checkpoint(path).state
        except ParagonError as error:
            assert type(error) is not CheckpointError  # noqa: PT017 - either outcome is right
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
        else:
            assert state
            assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert refused > 20
