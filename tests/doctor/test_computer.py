"""Asking this computer, and computers that are made up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import paragon_arch
from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_engine.backends import BACKENDS
from paragon_engine.catalog import find_model
from paragon_engine.doctor import Facts, collect, findings, self_test, trial
from paragon_engine.doctor.computer import (
    broken_modules,
    comfyui_places,
    damaged_models,
    has_kernels,
    hook,
    nvidia_cards,
    runtimes,
    torch_build,
)
from paragon_engine.doctor.facts import Backend, Device
from paragon_engine.doctor.golden import EXPECTED, UNIT

CPU = Device("cpu", "A CPU")
TORCH = Backend("torch", True, "", ("cpu", "cuda"), ("fp32", "fp16", "bf16"))


def test_this_computer() -> None:
    facts = collect()
    assert facts.ours == paragon_arch.__version__
    assert facts.packages["torch"] is not None
    assert facts.devices[0].name == "cpu"
    assert facts.devices[0].free
    assert {item.name for item in facts.backends} >= set(BACKENDS)
    assert not facts.damaged


def test_the_expected_output_is_that_of_the_network_as_it_was_trained() -> None:
    network = paragon_arch.load(find_model()).model.double()
    with torch.no_grad():
        found = trial.samples(network(trial.picture().double()))
    assert [round(value / UNIT) for value in found] == list(EXPECTED)
    assert max(EXPECTED) - min(EXPECTED) > 0.7 / UNIT, "the picture has no contrast"


def test_the_self_test_passes_here() -> None:
    facts = self_test(Facts(devices=(CPU,), backends=(TORCH,)), seconds=600)
    assert [(item.precision, item.passed) for item in facts.trials] == [("fp32", True), ("fp16", True), ("bf16", True)]
    assert max(item.difference or 0 for item in facts.trials) > 0


@pytest.mark.parametrize("fault", ["wrong", "nan", "raises"])
def test_the_self_test_fails_where_something_is_wrong(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trial._run  # pyright: ignore[reportPrivateUsage]

    def broken(*arguments: Any) -> torch.Tensor:
        if fault == "raises":
            raise RuntimeError("no kernel image\n is available")
        return run(*arguments) * (float("nan") if fault == "nan" else 1.1)

    monkeypatch.setattr(trial, "_run", broken)
    facts = self_test(Facts(devices=(CPU,), backends=(TORCH,)), seconds=600)
    assert not any(item.passed for item in facts.trials)
    assert facts.trials[0].error == ("no kernel image is available" if fault == "raises" else "")
    found = [finding for finding in findings(facts) if finding.what.startswith("torch on cpu")]
    assert [finding.level for finding in found] == ["problem", "note", "note"]


def test_the_self_test_ends_in_time() -> None:
    facts = self_test(Facts(devices=(CPU,), backends=(TORCH,)), seconds=-1)
    assert all(item.skipped for item in facts.trials)


def test_a_device_without_kernels_is_not_tried() -> None:
    devices = (Device("cuda:0", "An old card", supported=False),)
    assert list(trial.combinations(Facts(devices=devices, backends=(TORCH,)))) == []


@pytest.mark.parametrize(
    ("capability", "built_for", "expected"),
    [
        ((8, 6), ["sm_80", "sm_90"], True),  # the same first number, and an older second one
        ((8, 6), ["sm_75", "sm_90"], False),
        ((6, 1), ["sm_75", "sm_80", "compute_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),  # intermediate code is compiled on newer cards
        ((12, 0), ["sm_90"], False),
        ((12, 0), ["sm_100", "sm_120"], True),
        ((9, 0), ["sm_90a"], True),
        ((8, 9), ["gfx1100"], True),  # ROCm's are not judged
        ((8, 6), [], True),
    ],
)
def test_which_cards_have_kernels(capability: tuple[int, int], built_for: list[str], expected: bool) -> None:
    assert has_kernels(capability, built_for) is expected


def test_cards_that_the_driver_lists() -> None:
    def run(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(returncode=0, stdout="NVIDIA GeForce RTX 3060, 560.35.03\nNVIDIA T4, 560.35.03\n")

    assert [(card.name, card.driver) for card in nvidia_cards(run)] == [
        ("NVIDIA GeForce RTX 3060", "560.35.03"),
        ("NVIDIA T4", "560.35.03"),
    ]


@pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError(), subprocess.TimeoutExpired("nvidia-smi", 10)])
def test_without_the_drivers_program_there_are_none(error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    assert nvidia_cards(fail) == ()
    assert nvidia_cards(lambda *_, **__: SimpleNamespace(returncode=9, stdout="No devices were found")) == ()


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ({"hip": "6.2", "cuda": None}, "rocm 6.2"),
        ({"hip": None, "cuda": "12.8"}, "cuda 12.8"),
        ({"hip": None, "cuda": None, "xpu": "20250101"}, "xpu 20250101"),
        ({"cuda": None}, "cpu"),
    ],
)
def test_what_torch_was_built_for(version: dict[str, str | None], expected: str) -> None:
    mps = SimpleNamespace(is_built=lambda: False)
    assert (
        torch_build(SimpleNamespace(version=SimpleNamespace(**version), backends=SimpleNamespace(mps=mps))) == expected
    )


def test_builds_of_onnx_runtime() -> None:
    providers = {"onnxruntime": ["onnxruntime-gpu", "onnxruntime", "onnxruntime"], "torch": ["torch"]}
    assert runtimes(providers) == ("onnxruntime", "onnxruntime-gpu")
    assert runtimes({}) == ()


def test_modules_that_fail_are_named() -> None:
    def load(name: str) -> object:
        if name == "numpy":
            raise OSError("[WinError 126]\n DLL load failed")
        return object()

    assert dict(broken_modules(load)) == {"numpy": "OSError: [WinError 126] DLL load failed"}


@pytest.mark.parametrize("name", ["", "pack", "pack.disabled"])
def test_comfyui_is_found_where_it_is(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "ComfyUI"
    (folder / "comfy").mkdir(parents=True)
    (folder / "custom_nodes").mkdir()
    (folder / "main.py").touch()
    if name:
        (folder / "custom_nodes" / name / "paragon_arch").mkdir(parents=True)
        (folder / "custom_nodes" / name / "paragon_arch" / "__init__.py").touch()
    for variables, home in (({"COMFYUI_PATH": str(folder)}, tmp_path / "x"), ({}, tmp_path)):
        found = [program for program in comfyui_places(variables, home) if program.folder == str(folder.resolve())]
        assert len(found) == 1
        assert found[0].ours == ("custom node pack" if name == "pack" else None)
        assert ("is disabled" in found[0].cure) == (name == "pack.disabled")


def test_the_hook_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [])
    assert not hook().active
    from paragon_chainner import startup

    startup.install()
    assert hook().active


def test_models_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paragon_engine.doctor.computer.shipped_models", list)
    assert list(damaged_models()) == ["no model ships with this copy"]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--no-test"]) in (ExitCode.OK, ExitCode.PROBLEM)
    assert "backends" in capsys.readouterr().out


def test_it_works_without_torch_and_spandrel(root: Path) -> None:
    """The command line and everything it imports before, in a Python that has neither."""
    code = f"""
import sys
sys.path.insert(0, {str(root)!r})
from deploy.cli import main
sys.exit(main(["doctor"]))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.PROBLEM, done.stderr
    assert "torch is not installed" in done.stdout


def test_an_embedded_python_takes_the_folder_of_the_program(root: Path, tmp_path: Path) -> None:
    """With a ``._pth`` it is isolated and knows no current folder: -m finds nothing of a checkout."""
    command = [sys.executable, "-I", "-S"]
    by_name = subprocess.run([*command, "-m", "deploy", "--help"], cwd=root, capture_output=True, check=False)
    assert by_name.returncode == 1
    by_folder = subprocess.run(
        [*command, str(root / "deploy"), "doctor", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (by_folder.returncode, by_folder.stderr) == (0, "")
    assert "everything that ParagonSR depends on" in by_folder.stdout
