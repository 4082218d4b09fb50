"""The worker: packages first, then every module of theirs; says what it found, and what the model file given is."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def load_nodes() -> list[str]:
    """Import all modules of the package, in the order of chaiNNer; return the names of those that failed."""
    failed: list[str] = []
    for file in sorted((HERE / "packages" / "chaiNNer_pytorch").rglob("*.py")):
        if not file.name.startswith("_"):
            name = ".".join(file.relative_to(HERE).with_suffix("").parts)
            try:
                importlib.import_module(name)
            except Exception as error:
                failed.append(f"{name}: {error}")
    return failed


package = importlib.import_module("packages.chaiNNer_pytorch")
assert "paragon_arch" not in sys.modules, "too early"
failures = load_nodes()
groups = {group.name: group.nodes for group in package.pytorch_category.groups}
model = groups["Input & Output"]["chainner:pytorch:load_model"]["run"](sys.argv[1])
nodes = {name: list(nodes) for name, nodes in groups.items()}
sys.stdout.write(json.dumps([failures, nodes, model.architecture.id, model.scale]) + "\n")
