"""What the tests of releases share: a small checkpoint, small pictures, and the functions called as users call them."""

from __future__ import annotations

from pathlib import Path

import pytest

from paragon_engine.release.artefacts import Artefact, network_artefact
from paragon_engine.release.pictures import PictureSet, photographs
from tests.engine_models import checkpoint, network
from tests.release.killing import pictures


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "2x_tiny.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures."""
    return pictures(tmp_path / "pictures")


@pytest.fixture
def photos(folder: Path) -> PictureSet:
    return photographs([folder])


@pytest.fixture
def reference() -> Artefact:
    return network_artefact(network(), name="checkpoint")
