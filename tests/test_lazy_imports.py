"""What a command does not import: a start is as fast as the libraries that it does without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paragon_engine.inference import inference_form
from paragon_engine.tiling.memory import untiled_bound, untiled_peak
from tests.engine.exact_models import NETWORKS
from tests.engine_models import checkpoint

ROOT = Path(__file__).resolve().parent.parent
COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}
OPTIONAL = {"onnx", "onnxruntime", "openvino", "av", "matplotlib", "ray", "scipy"}
FOREIGN = {"spandrel", "torchvision"}


def loaded(code: str, names: set[str]) -> set[str]:
    """Which of these modules a fresh interpreter has after some code."""
    script = f"import sys\n{code}\nprint(*({names} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def command(*arguments: str) -> str:
    return f"from deploy.cli import main\nassert main({list(arguments)!r}) == 0"


def test_the_command_line_itself_needs_neither_torch_nor_pictures() -> None:
    code = "from deploy.cli import build_parser; build_parser().format_help()"
    assert loaded(code, {"torch", "numpy", "PIL"}) == set()


@pytest.mark.parametrize("options", [("--json",), ("--validate", "--json")])
def test_inspect(tmp_path: Path, options: tuple[str, ...]) -> None:
    model = checkpoint(tmp_path / "2x_a.safetensors")
    code = command("inspect", str(model), "--alpha", "0.3", *options)
    assert loaded(code, FOREIGN | COMPILER | OPTIONAL | {"PIL"}) == set()


def test_fuse(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "2x_a.safetensors")
    code = command("fuse", str(model), "-o", str(tmp_path / "fused.safetensors"), "--alpha", "0.3", "-q")
    assert loaded(code, FOREIGN | OPTIONAL) == set()


@pytest.mark.parametrize("folder", [False, True])
def test_upscale(tmp_path: Path, folder: bool) -> None:
    model = checkpoint(tmp_path / "2x_a.safetensors")
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.jpg")
    places = ("a.jpg", "out") if folder else ("a.jpg", "out.png")
    (tmp_path / "out").mkdir()
    source, target = (str(tmp_path / place) for place in places)
    options = ("--model", str(model), "--alpha", "0.3", "--device", "cpu", "--backend", "torch", "-q")
    assert loaded(command("upscale", source, "-o", target, *options), FOREIGN | COMPILER | OPTIONAL) == set()


def test_a_descriptor_is_spandrels() -> None:
    assert "spandrel" in loaded("import paragon_arch; paragon_arch.ParagonModelDescriptor", FOREIGN)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_quick_bound_of_memory_holds(name: str) -> None:
    kind, options = NETWORKS[name]
    network = kind(**options).eval()
    for module in (network, inference_form(network)):
        for shape in ((1, 3, 64, 64), (1, 3, 33, 250), (2, 3, 300, 200)):
            bound = untiled_bound(module, shape, torch.float32)
            assert bound is None or bound >= untiled_peak(module, shape, torch.float32)
    assert (untiled_bound(network, (1, 3, 64, 64), torch.float32) is None) == (name == "v2-hybrid-attn-global")
