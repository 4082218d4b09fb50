"""Each thing that goes wrong on people's computers, as facts, and the finding with its cure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploy.commands.doctor import tell
from deploy.exit_codes import ExitCode
from paragon_engine.doctor import Device, Facts, Program, Trial, findings
from paragon_engine.doctor.facts import Card, Hook
from paragon_engine.doctor.rules import MINIMUM, parsed

GIB = 1 << 30
CPU = Device("cpu", "A CPU", 16 * GIB)
CARD = Card("NVIDIA GeForce RTX 3060", "560.35")
GPU = Device("cuda:0", CARD.name, 11 * GIB, (8, 6))
SOUND = Facts(
    ours="0.1.0",
    python=(3, 12, 1),
    executable="C:/Program Files/python.exe",
    system="Windows 11, AMD64",
    packages={
        "torch": "2.7.1+cu128",
        "torchvision": "0.22.1",
        "numpy": "2.2.6",
        "pillow": "11.0.0",
        "spandrel": "0.4.1",
        "safetensors": "0.5.3",
        "av": "14.0.1",
        "onnx": "1.17.0",
    },
    torch_build="cuda 12.8",
    cards=(CARD,),
    runtimes=("onnxruntime-gpu",),
    devices=(CPU, GPU),
    encoders={"h264": True, "av1": True},
    temporary=("C:/Temp", 100 * GIB),
    programs=(Program("ComfyUI", "D:/ComfyUI", "custom node comfyui-paragonsr"),),
    hook=Hook(installed=True, active=True),
    trials=(Trial("cpu", "torch", "fp32", 1e-6, 1e-3, 0.1), Trial("cuda:0", "torch", "fp16", 1e-3, 1e-2, 0.1)),
)
BAD = Trial("cuda:0", "torch", "fp32", 0.3, 1e-3)
AMPERE = replace(GPU, supported=False, capability=(6, 1))


def packages(**changes: str | None) -> dict[str, Any]:
    return {"packages": {**SOUND.packages, **changes}}


CASES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # name: (what differs from a sound computer, level, words of the finding, words of the cure)
    "an old Python": ({"python": (3, 9, 2)}, "problem", "Python 3.9.2", "3.10 or newer"),
    "no torch": (packages(torch=None), "problem", "torch is not installed", 'install "torch>=2.1"'),
    "an old torch": (packages(torch="2.0.1+cu118"), "problem", "torch 2.0.1+cu118 is too old", "--upgrade"),
    "an old numpy": (packages(numpy="1.23.5"), "problem", "numpy 1.23.5", '"numpy>=1.24"'),
    "an old spandrel": (packages(spandrel="0.4.0"), "problem", "spandrel 0.4.0", '"spandrel>=0.4.1"'),
    "no PyAV": (packages(av=None), "note", "videos", "install av"),
    "no onnx": (packages(onnx=None), "note", "exported", "install onnx"),
    "a DLL is missing": (
        {"broken": {"torch": "OSError: [WinError 126] DLL load failed while importing _C"}},
        "problem",
        "torch is installed but cannot be imported",
        "Visual C++",
    ),
    "built for another numpy": (
        {"broken": {"onnxruntime": "ImportError: numpy.core.multiarray failed to import"}},
        "problem",
        "onnxruntime is installed but",
        "another numpy",
    ),
    "a CPU build beside an NVIDIA card": (
        {"torch_build": "cpu", "devices": (CPU,)},
        "problem",
        "RTX 3060), but this PyTorch only computes on the CPU",
        "pytorch.org",
    ),
    "an old driver": ({"devices": (CPU,)}, "problem", "cannot use the NVIDIA card", "update NVIDIA's driver"),
    "no kernels for the card": (
        {"devices": (CPU, AMPERE)},
        "problem",
        "no kernels for cuda:0, NVIDIA GeForce RTX 3060, of capability 6.1",
        "--device cpu",
    ),
    "before Ampere": ({"devices": (CPU, replace(GPU, capability=(7, 5)))}, "note", "BF16", "--precision fp32"),
    "little memory": ({"devices": (replace(CPU, free=GIB // 2), GPU)}, "note", "512 MiB of memory", "close"),
    "two builds of ONNX Runtime": (
        {"runtimes": ("onnxruntime", "onnxruntime-gpu")},
        "problem",
        "onnxruntime, onnxruntime-gpu",
        'uninstall onnxruntime onnxruntime-gpu, then "C:/Program Files/python.exe" -m pip install onnxruntime-gpu',
    ),
    "ONNX Runtime for the CPU beside a card": ({"runtimes": ("onnxruntime",)}, "note", "CPU only", "onnxruntime-gpu"),
    "no H.264": ({"encoders": {"h264": False, "av1": True}}, "note", "it can write: av1", "--codec"),
    "a full disk": ({"temporary": ("C:/Temp", GIB)}, "note", "1.0 GiB are free in C:/Temp", "TEMP"),
    "a ComfyUI without us": (
        {"programs": (Program("ComfyUI", "D:/ComfyUI", None, "put it there"),)},
        "note",
        "ComfyUI in D:/ComfyUI does not know ParagonSR",
        "put it there",
    ),
    "the hook has not run": ({"hook": Hook(True, False)}, "note", "paragonsr.pth has not run", "force-reinstall"),
    "an embedded Python": ({"hook": Hook(True, False, False)}, "note", "reads no start-up files", "import site"),
    "a damaged model": ({"damaged": ("x.safetensors: is not the shipped file",)}, "problem", "not whole", "again"),
    "a wrong picture on the GPU": ({"trials": (BAD,)}, "problem", "0.3 off, 0.001 is allowed", "--device cpu"),
    "NaN": ({"trials": (replace(BAD, difference=float("nan")),)}, "problem", "wrong picture: nan", "driver"),
    "an error on the CPU": (
        {"trials": (Trial("cpu", "torch", "fp32", error="illegal instruction"),)},
        "problem",
        "torch on cpu in fp32 does not run the included model: illegal instruction",
        "reinstall PyTorch",
    ),
    "an error of another backend": (
        {"trials": (Trial("cpu", "openvino", "fp32", error="no plugin"),)},
        "problem",
        "openvino on cpu",
        "--backend torch",
    ),
    "half precision that fails": (
        {"trials": (Trial("cuda:0", "torch", "fp32", 0.0, 1e-3), replace(BAD, precision="fp16"))},
        "note",
        "in fp16 gives a wrong picture",
        "--precision fp32, which works",
    ),
}


def test_a_sound_computer_has_none() -> None:
    assert findings(SOUND) == []


@pytest.mark.parametrize("name", CASES)
def test_one_thing_wrong_is_one_finding_with_its_cure(name: str) -> None:
    changes, level, what, cure = CASES[name]
    (finding,) = findings(replace(SOUND, **changes))
    assert finding.level == level
    assert what in finding.what
    assert cure in finding.cure


def test_problems_come_first() -> None:
    found = findings(replace(SOUND, **packages(av=None, numpy=None)))
    assert [finding.level for finding in found] == ["problem", "note"]


def test_without_an_nvidia_card_a_cpu_build_is_no_finding() -> None:
    assert findings(replace(SOUND, cards=(), torch_build="cpu", devices=(CPU,), runtimes=("onnxruntime",))) == []


def test_what_was_left_out_is_no_finding() -> None:
    assert findings(replace(SOUND, trials=(Trial("cpu", "openvino", "fp32", skipped=True),))) == []


def test_not_being_installed_with_pip_is_no_finding() -> None:
    assert findings(replace(SOUND, hook=Hook(installed=False, active=False))) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.1.2+cu121", (2, 1, 2)), ("2.10.0.dev20260101", (2, 10, 0)), ("1.24", (1, 24)), ("unknown", ())],
)
def test_versions(text: str, numbers: tuple[int, ...]) -> None:
    assert parsed(text) == numbers


def test_nothing_at_all_is_reported_not_raised(capsys: pytest.CaptureFixture[str]) -> None:
    """A Python in which nothing is installed: every package is a problem, and the report is printed."""
    found = findings(Facts())
    assert sum(finding.level == "problem" for finding in found) == len(MINIMUM)
    assert tell(Facts(), found, as_json=False) == ExitCode.PROBLEM
    assert "5 problems" in capsys.readouterr().out


def test_the_report_names_every_fact_and_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(SOUND, findings(SOUND), as_json=False) == ExitCode.OK
    text = capsys.readouterr().out
    for words in (
        "2.7.1+cu128 (cuda 12.8)",
        "11.0 GiB free",
        "driver 560.35",
        "h264, av1",
        "D:/ComfyUI",
        "no problems",
    ):
        assert words in text
    broken = replace(SOUND, trials=(BAD,))
    assert tell(broken, findings(broken), as_json=False) == ExitCode.PROBLEM
    assert "cure: update the driver" in capsys.readouterr().out


@pytest.mark.parametrize("difference", [0.3, float("inf"), float("nan"), None])
def test_json_holds_the_same(difference: float | None, capsys: pytest.CaptureFixture[str]) -> None:
    facts = replace(SOUND, trials=(replace(BAD, difference=difference),))
    assert tell(facts, findings(facts), as_json=True) == ExitCode.PROBLEM
    report = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert report["devices"][1]["capability"] == [8, 6]
    assert report["trials"][0]["passed"] is False
    assert report["findings"][0]["level"] == "problem"
