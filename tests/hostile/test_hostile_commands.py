"""Every broken file gives the command line one line on stderr and the documented exit code, and leaves no output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_arch.networks.v1 import ParagonSR
from paragon_arch.networks.v2_release import ParagonSR2Release
from tests.hostile.hostile_files import FILES
from tests.hostile.hostile_pickles import PICKLES, Case

State = dict[str, Tensor]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("case", PICKLES + FILES, ids=lambda case: case.name)
def test_fuse_refuses(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output, marker = tmp_path / case.name, tmp_path / "out.safetensors", tmp_path / "marker"
    path.write_bytes(case.make(marker))
    refused(path, output, ExitCode.CHECKPOINT, capsys)
    assert not marker.exists()


def refused(path: Path, output: Path, code: ExitCode, capsys: pytest.CaptureFixture[str]) -> str:
    """Fusing a file fails as documented; returns the message."""
    assert main(["fuse", str(path), "-o", str(output)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert path.name in captured.err
    assert not output.exists()
    return captured.err


def release() -> State:
    network = ParagonSR2Release(scale=2, variant="realtime", num_feat=16, num_groups=1, num_blocks=3)
    return dict(network.state_dict())


def first() -> State:
    network = ParagonSR(scale=2, num_feat=8, num_groups=1, num_blocks=1, hidden=12, branch=1)
    return dict(network.state_dict())


def without(key: str) -> Callable[[State], None]:
    def damage(state: State) -> None:
        del state[key]

    return damage


def put(key: str, value: Tensor) -> Callable[[State], None]:
    def damage(state: State) -> None:
        state[key] = value

    return damage


LAYOUT, CHECKPOINT = ExitCode.LAYOUT, ExitCode.CHECKPOINT

DAMAGES: list[tuple[str, Callable[[], State], Callable[[State], None], ExitCode, str]] = [
    ("no_bias", release, without("conv_mid.bias"), LAYOUT, "conv_mid.bias"),
    ("no_block_weight", release, without("body.0.blocks.2.dw.weight"), LAYOUT, "body.0.blocks.2.dw.weight"),
    ("no_first_layer", release, without("conv_in.weight"), LAYOUT, "(conv_in.weight)"),
    ("no_branch", first, without("body.0.blocks.0.transformer.spatial_mixer.conv1x1.bias"), LAYOUT, "conv1x1.bias"),
    ("extra_key", release, put("conv_extra.weight", torch.zeros(3)), LAYOUT, "conv_extra.weight"),
    ("extra_block", release, put("body.0.blocks.9.dw.bias", torch.zeros(32)), LAYOUT, "count up"),
    ("endless_blocks", release, put("body.0.blocks.99999999.dw.bias", torch.zeros(32)), LAYOUT, "count up"),
    ("endless_groups", release, put("body.99999999.blocks.0.dw.bias", torch.zeros(32)), LAYOUT, "count up"),
    ("wrong_shape", release, put("conv_mid.weight", torch.zeros(16, 16, 5, 5)), LAYOUT, "conv_mid.weight"),
    ("wrong_rank", release, put("conv_out.bias", torch.zeros(3, 1)), LAYOUT, "conv_out.bias"),
    ("scalar_weight", release, put("up.0.weight", torch.zeros(())), LAYOUT, "up.0"),
    ("no_square", release, put("up.0.weight", torch.zeros(50, 16, 3, 3)), LAYOUT, "up.0"),
    ("integer_weight", release, put("conv_mid.weight", torch.zeros(16, 16, 3, 3).int()), LAYOUT, "conv_mid.weight"),
    ("two_scales", release, put("up.0.bias", torch.zeros(144)), LAYOUT, "up.0.bias"),
    ("nan", release, put("conv_mid.bias", torch.full((16,), float("nan"))), CHECKPOINT, "conv_mid.bias"),
    ("inf", first, put("conv_fuse.bias", torch.full((8,), float("inf"))), CHECKPOINT, "conv_fuse.bias"),
    ("none_of_ours", lambda: {"layer.weight": torch.zeros(3, 3)}, lambda state: None, LAYOUT, "layer.weight"),
]


@pytest.mark.parametrize(("name", "make", "damage", "code", "word"), DAMAGES, ids=[case[0] for case in DAMAGES])
def test_damaged_models(
    name: str,
    make: Callable[[], State],
    damage: Callable[[State], None],
    code: ExitCode,
    word: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = make()
    damage(state)
    path = tmp_path / f"{name}.safetensors"
    save_file(state, path)
    assert word in refused(path, tmp_path / "out.safetensors", code, capsys)


def test_a_folder_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(tmp_path, tmp_path.parent / "out.safetensors", CHECKPOINT, capsys)
