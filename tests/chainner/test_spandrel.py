"""The start-up hook with the real spandrel, and in the order in which chaiNNer imports things."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chainner.hook_environment import Environment

LOAD_MODEL = """
from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ModelLoader
from ... import package

class Extra(Architecture):
    def __init__(self):
        super().__init__(id="extra", detect=lambda state: False)
    def load(self, state_dict):
        raise NotImplementedError

MAIN_REGISTRY.add(ArchSupport.from_architecture(Extra()))  # unguarded, as chaiNNer adds spandrel_extra_arches

def load_model(path):
    return ModelLoader("cpu").load_from_file(path)
"""
BACKEND = {
    "packages/chaiNNer_pytorch/__init__.py": "package = 'PyTorch'",
    "packages/chaiNNer_pytorch/pytorch/__init__.py": "",
    "packages/chaiNNer_pytorch/pytorch/io/load_model.py": LOAD_MODEL,
    "server.py": """
import importlib, json, sys
importlib.import_module("packages.chaiNNer_pytorch")
assert "paragon_arch" not in sys.modules, "too early"
node = importlib.import_module("packages.chaiNNer_pytorch.pytorch.io.load_model")
model = node.load_model(sys.argv[1])
print(json.dumps([model.architecture.id, model.scale]))
""",
}
"""chaiNNer's back end, reduced to the order of its imports."""


def test_chainners_order_of_imports(tmp_path: Path, wheel: Path, root: Path) -> None:
    model = next((root / "models").glob("2x-ParagonSR2-Realtime-*.safetensors"))
    environment = Environment(tmp_path / "environment")
    environment.unpack(wheel)
    environment.add_ours()
    for name, text in BACKEND.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = f"import runpy, sys; sys.argv = ['server.py', {str(model)!r}]; sys.path.insert(0, '.')"
    done = environment.run(f"{code}; runpy.run_path('server.py')", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["ParagonSR2-v2-release", 2]


@pytest.mark.parametrize("first", ["spandrel", "paragon_arch", "paragon_arch.spandrel_support"])
def test_whichever_is_imported_first(tmp_path: Path, wheel: Path, first: str) -> None:
    environment = Environment(tmp_path)
    environment.unpack(wheel)
    environment.add_ours()
    code = f"import {first}, paragon_arch, spandrel; paragon_arch.register(); ids = "
    code += "[a.architecture.id for a in spandrel.MAIN_REGISTRY.architectures('insertion')]; "
    done = environment.run(code + "print(len(ids) - len(set(ids)), sum('ParagonSR' in i for i in ids) > 20)")
    assert done.stdout.split() == ["0", "True"], done.stderr
