"""What we depend on: licences, versions, and the actions of the workflows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.licences import direct, is_allowed, licence_of, table


def test_every_licence_is_compatible() -> None:
    found = table()
    assert len(found) > 20
    assert {name: licence for name, licence in found.items() if not is_allowed(name, licence)} == {}


@pytest.mark.parametrize(
    ("name", "licence", "allowed"),
    [
        ("a", "MIT", True),
        ("a", "Apache-2.0 AND (MIT OR BSD-3-Clause)", True),
        ("a", "Apache-2.0 WITH LLVM-exception", True),
        ("a", "", False),
        ("a", "UNKNOWN", False),
        ("a", "GPL-3.0-only", False),
        ("a", "MIT AND AGPL-3.0-or-later", False),
        ("a", "CC-BY-NC-4.0", False),
        ("a", "Free for non-commercial use", False),
        ("a", "LicenseRef-NVIDIA-Proprietary", False),
        ("nvidia-cublas", "LicenseRef-NVIDIA-Proprietary", True),
    ],
)
def test_what_is_compatible(name: str, licence: str, allowed: bool) -> None:
    assert is_allowed(name, licence) is allowed


def test_the_page_lists_what_we_ask_for(root: Path) -> None:
    page = (root / "docs/licences.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \|", page, re.MULTILINE))
    assert {"torch", "spandrel", "safetensors", "numpy", "pillow", "av", "onnx", "onnxruntime", "onnxslim"} <= listed
    assert licence_of("spandrel").startswith("MIT")


def test_the_lock_file_names_what_developers_install(root: Path) -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==", (root / "requirements-dev.lock").read_text("utf-8"), re.MULTILINE))
    optional = {"transformers", "tensorboard", "ray", "model-signing", "ssimulacra2", "ncnn"}  # `dev` leaves them out
    assert {name.lower() for name in direct((root / "pyproject.toml").read_text("utf-8"))} - optional <= locked


def test_nothing_of_a_user_is_pinned(root: Path) -> None:
    for line in (root / "requirements.txt").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z]+", line), line
    assert (
        '"torch' not in (root / "pyproject.toml").read_text("utf-8").partition("dependencies = [")[2].partition("]")[0]
    )


def test_actions_are_pinned_by_their_commit(root: Path) -> None:
    workflows = list((root / ".github/workflows").glob("*.yml"))
    assert len(workflows) >= 2
    for file in workflows:
        text = file.read_text(encoding="utf-8")
        assert "permissions:\n  contents: read" in text
        for action in re.findall(r"uses:\s*(\S+.*)", text):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", action), f"{file.name}: {action}"


def test_what_holds_a_token_installs_by_hash(root: Path) -> None:
    """The tools of the publishing workflow, the build's included; and nothing is published without a tag."""
    lines = (root / ".github/publish.lock").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in pinned), pinned
    assert {"build", "comfy-cli", "ruff", "setuptools", "wheel"} <= {line.partition("==")[0] for line in pinned}
    workflow = (root / ".github/workflows/publish.yml").read_text(encoding="utf-8")
    installs = re.findall(r"run: python -m pip install (.*)", workflow)
    assert installs
    assert all("--require-hashes" in line and "publish.lock" in line for line in installs)
    assert 'tags: ["v*"]' in workflow
    assert "branches" not in workflow
    before, after = workflow.split("${{ secrets.")  # one secret, in one step
    assert "environment: registry" in before
    assert after.count("run:") == 1
