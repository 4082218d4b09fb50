"""The start-up hook with the real spandrel, and in the order in which chaiNNer imports things."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from paragon_chainner.drop_in import NAME, content
from paragon_chainner.locate import PYTORCH_PACKAGE
from paragon_chainner.nodes import NODES
from tests.chainner.hook_environment import Environment

STANDIN = Path(__file__).with_name("standin")
"""chaiNNer's back end, reduced to the order of its imports and what our nodes use."""


def run_standin(environment: Environment, backend: Path, model: Path) -> list[Any]:
    """(modules that failed, nodes by group, architecture and scale of a model)."""
    code = (
        f"import runpy, sys; sys.argv = ['server.py', {str(model)!r}]; runpy.run_path({str(backend / 'server.py')!r})"
    )
    done = environment.run(code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def model(root: Path) -> Path:
    return next((root / "models").glob("2x-ParagonSR2-Realtime-*.safetensors"))


@pytest.mark.parametrize("drop_in", [False, True])
def test_chainners_order_of_imports(tmp_path: Path, wheel: Path, model: Path, drop_in: bool) -> None:
    """Hook and drop-in together add everything once."""
    environment = Environment(tmp_path / "environment")
    environment.unpack(wheel)
    environment.add_ours()
    backend = Path(shutil.copytree(STANDIN, tmp_path / "backend"))
    if drop_in:
        (backend / PYTORCH_PACKAGE / NAME).write_text(content(), encoding="utf-8")
    failures, nodes, architecture, scale = run_standin(environment, backend, model)
    assert failures == []
    assert len(nodes["ParagonSR"]) == len(NODES)
    assert (architecture, scale) == ("ParagonSR2-v2-release", 2)


def test_the_drop_in_alone(tmp_path: Path, model: Path) -> None:
    environment = Environment(tmp_path / "environment")
    environment.add_ours()
    backend = Path(shutil.copytree(STANDIN, tmp_path / "backend"))
    (backend / PYTORCH_PACKAGE / NAME).write_text(content(), encoding="utf-8")
    failures, nodes, architecture, _ = run_standin(environment, backend, model)
    assert (failures, len(nodes["ParagonSR"]), architecture) == ([], len(NODES), "ParagonSR2-v2-release")


@pytest.mark.parametrize("first", ["spandrel", "paragon_arch", "paragon_arch.spandrel_support"])
def test_whichever_is_imported_first(tmp_path: Path, wheel: Path, first: str) -> None:
    environment = Environment(tmp_path)
    environment.unpack(wheel)
    environment.add_ours()
    code = f"import {first}, paragon_arch, spandrel; paragon_arch.register(); ids = "
    code += "[a.architecture.id for a in spandrel.MAIN_REGISTRY.architectures('insertion')]; "
    done = environment.run(code + "print(len(ids) - len(set(ids)), sum('ParagonSR' in i for i in ids) > 20)")
    assert done.stdout.split() == ["0", "True"], done.stderr
