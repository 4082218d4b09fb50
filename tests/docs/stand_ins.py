"""Small files under the names that documents use, so that their commands can run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from paragon_arch.networks.v2_magic import ParagonSR2Magic
from paragon_engine.catalog import models_folder
from tests.engine_models import state
from tests.video_files import make_video

PICTURES = (".jpg", ".png", ".tif", ".webp")
CHECKPOINTS = (".safetensors", ".pth")
OUTPUTS = ("-o", "--output", "--markdown", "--plot", "--report", "--trained", "--saveEngine")
"""Options whose values are written, not read."""
MANIFEST = '[defaults]\nauthor = "Jane Doe"\n\n[[model]]\ncheckpoint = "2x_model.safetensors"\n'


def picture(path: Path, side: int = 48) -> None:
    """A colourful picture of a few pixels."""
    rows, columns = np.mgrid[0:side, 0 : side + 8]
    pixels = np.stack([rows * 4, columns * 4, (rows // 6 + columns // 6) % 2 * 200], -1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def model(path: Path, *, scale: int = 2, dynamic: bool = False) -> None:
    """A small checkpoint; ``dynamic``: one whose kernels were never tracked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = untracked() if dynamic else state(scale=scale)
    if path.suffix == ".pth":
        torch.save({"params_ema": tensors}, path)
    else:
        save_file(tensors, path)


def untracked() -> dict[str, torch.Tensor]:
    """State dict of a small v2-magic network that has not been trained, with a hint about its scale."""
    shape: dict[str, Any] = {"num_feat": 16, "num_groups": 1, "num_blocks": 1, "hidden": 24, "branch": 2}
    hint = {"paragonsr_hint.scale": torch.tensor(2, dtype=torch.int32)}
    return ParagonSR2Magic(scale=2, alpha=1.0, **shape).state_dict() | hint


def provide(folder: Path, arguments: list[str], graph: Path, *, dynamic: bool = False) -> None:
    """Make every file that a command reads.

    Args:
        folder: where the command will run.
        arguments: the command's.
        graph: an ONNX file, copied for every name that ends so.
        dynamic: make checkpoints whose kernels were never tracked.
    """
    previous, words = "", " ".join(arguments)
    if arguments[0] == "video":
        _animations(folder, arguments)
    models = {"dynamic": dynamic, "scale": 4 if "4x" in words or "--scale 4" in words else 2}
    for argument in arguments:
        if previous not in OUTPUTS and not argument.startswith("-"):
            _provide(folder, argument, graph, models)
        previous = argument


def _animations(folder: Path, arguments: list[str]) -> None:
    """Make the animations that `video` reads."""
    for name in (word for word in arguments if word.endswith((".gif", ".webp", ".apng"))):
        if arguments[arguments.index(name) - 1] not in OUTPUTS:
            frames = [Image.new("RGB", (24, 16), colour) for colour in ("red", "blue")]
            frames[0].save(folder / name, save_all=True, append_images=frames[1:])


def _provide(folder: Path, name: str, graph: Path, models: dict[str, Any]) -> None:
    path = folder / name.replace("**/", "a/").replace("*", "b")
    if name.endswith("/") or name == "photos":
        for number in range(5):
            picture(path / f"{number}.png", 64 + 8 * number)
    elif path.suffix in PICTURES:
        if not path.exists():
            picture(path)
    elif path.suffix in CHECKPOINTS:
        model(path, **models)
    elif path.suffix == ".onnx":
        shutil.copyfile(graph, path)
    elif path.suffix in (".mp4", ".mkv"):
        make_video(path, 4, sound=path.suffix == ".mp4")
    elif path.suffix == ".toml":
        path.write_text(MANIFEST, encoding="utf-8")
        model(folder / "2x_model.safetensors")


def shipped(folder: Path) -> None:
    """The models of the repository, under the path that they have in a checkout."""
    source = models_folder()
    assert source is not None
    shutil.copytree(source, folder / "models")
