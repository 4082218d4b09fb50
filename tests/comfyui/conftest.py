"""One ComfyUI for all tests of this folder, and one with the newest front end: starting takes half a minute."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.comfyui.server import Server, interpreter
from tests.comfyui.subjects import FUSIBLE, PACK, RANDOM, picture, save_fusible_model, save_random_model, save_video


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, copy_checkout: Callable[[Path], Path]) -> Iterator[Server]:
    """A server with our pack, upscale models and pictures.

    Runs where COMFYUI_PATH names a ComfyUI folder (and COMFYUI_PYTHON its interpreter); `install.py` here makes both.
    """
    base = tmp_path_factory.mktemp("comfyui")
    yield from _running(base, copy_checkout)


@pytest.fixture(scope="session")
def newest_server(tmp_path_factory: pytest.TempPathFactory, copy_checkout: Callable[[Path], Path]) -> Iterator[Server]:
    """The same with the front end in COMFYUI_FRONTEND, which `install.py` fetches: the newest there is."""
    front_end = os.environ.get("COMFYUI_FRONTEND")
    if not front_end:
        pytest.skip("COMFYUI_FRONTEND is not set; `python tests/comfyui/install.py FOLDER` fetches one")
    yield from _running(tmp_path_factory.mktemp("newest"), copy_checkout, Path(front_end))


def _running(base: Path, copy_checkout: Callable[[Path], Path], front_end: Path | None = None) -> Iterator[Server]:
    source = os.environ.get("COMFYUI_PATH")
    if not source:
        pytest.skip("COMFYUI_PATH is not set; `python tests/comfyui/install.py FOLDER` makes a ComfyUI")
    _fill(base, copy_checkout)
    running = Server(Path(source), interpreter(), base, front_end)
    yield running
    running.stop()


def _fill(base: Path, copy_checkout: Callable[[Path], Path]) -> None:
    for folder in ("models/upscale_models", "models/checkpoints", "input", "output", "user", "temp"):
        (base / folder).mkdir(parents=True)
    copy_checkout(base / "custom_nodes" / PACK)
    save_random_model(base / "models/upscale_models" / RANDOM)
    save_fusible_model(base / "models/upscale_models" / FUSIBLE)
    (base / "models/upscale_models/broken.safetensors").write_bytes(b"\x20\0\0\0\0\0\0\0not a header at all, but text")
    Image.fromarray(picture()).save(base / "input/in.png")
    Image.fromarray(picture(transparent=True)).save(base / "input/transparent.png")
    Image.fromarray(picture()).resize((1400, 1000)).save(base / "input/large.png")
    Image.fromarray(picture()).resize((96, 72)).save(base / "input/medium.png")
    save_video(base / "input/in.mp4")
    helper = base / "custom_nodes/out_of_memory"
    helper.mkdir()
    shutil.copy(Path(__file__).with_name("out_of_memory.py"), helper / "__init__.py")
