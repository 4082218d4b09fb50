"""The type checker of chaiNNer's window, run over our nodes: one bad type expression would stop the app from starting.

Needs CHAINNER_PATH, and CHAINNER_NODE_MODULES with @chainner/navi, esbuild, rregex and uuid (docs/chainner.md).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.chainner.backend import Backend

pytestmark = pytest.mark.chainner
ENTRY = """
import { readFileSync } from 'fs';
import { parseFunctionDefinitions } from 'SOURCE/src/common/nodes/parseFunctionDefinitions';
const nodes = JSON.parse(readFileSync(process.argv[2], 'utf-8')).nodes;
console.log(parseFunctionDefinitions(nodes).size);
"""


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checker as one script."""
    modules = os.environ.get("CHAINNER_NODE_MODULES")
    if not modules:
        pytest.skip("CHAINNER_NODE_MODULES is not set")
    folder = tmp_path_factory.mktemp("checker")
    (folder / "entry.ts").write_text(ENTRY.replace("SOURCE", os.environ["CHAINNER_PATH"]), encoding="utf-8")
    wasm = "rregex/lib/rregex.wasm"
    options = [
        "--bundle",
        "--platform=node",
        "--target=node18",
        "--loader:.wasm=binary",
        f"--alias:{wasm}?url={wasm}",
        "--log-level=error",
    ]
    command = [str(Path(modules, ".bin", "esbuild")), "entry.ts", *options, "--outfile=checker.cjs"]
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "NODE_PATH": modules})
    return folder / "checker.cjs"


def check(checker: Path, nodes: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it over the schemata of nodes."""
    (folder / "nodes.json").write_text(json.dumps(nodes), encoding="utf-8")
    command = ["node", str(checker), str(folder / "nodes.json")]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


def test_our_types_are_good(backend: Backend, checker: Path, tmp_path: Path) -> None:
    done = check(checker, backend.nodes, tmp_path)
    assert done.stdout.split()[-1] == str(len(backend.schemata)), done.stderr


def test_a_bad_type_would_be_noticed(backend: Backend, checker: Path, tmp_path: Path) -> None:
    nodes = json.loads(json.dumps(backend.nodes))
    ours = next(node for node in nodes["nodes"] if node["schemaId"] == "chainner:paragonsr:upscale_image")
    ours["outputs"][0]["type"] = "convenientUpscale(Input0, NoSuchThing)"
    assert "NoSuchThing" in check(checker, nodes, tmp_path).stderr
