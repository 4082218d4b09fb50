"""A stand-in for ComfyUI's modules: as much of them as nodes/host.py uses. tests/comfyui has the real one."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from spandrel import ImageModelDescriptor, ModelLoader
from spandrel.architectures.Compact import Compact

from tests.devices import DEVICE


class Interrupted(Exception):  # noqa: N818  (ComfyUI's is called InterruptProcessingException)
    """What ComfyUI raises when the user cancels."""


class VideoInput:
    """ComfyUI's class of the same name, as it fails in cores before 0.16."""

    def get_stream_source(self) -> str | io.BytesIO:
        raise ValueError("Could not determine output format")


class VideoFromFile(VideoInput):
    """ComfyUI's class of the same name."""

    def __init__(self, file: str | io.BytesIO, *, start_time: float = 0, duration: float = 0) -> None:
        self.file = file
        self._window = start_time, duration

    def get_stream_source(self) -> str | io.BytesIO:
        return self.file

    def get_active_trim_window(self) -> tuple[float, float]:
        return self._window


class VideoFromComponents(VideoInput):
    """ComfyUI's class of the same name."""

    def __init__(self, images: torch.Tensor, audio: dict[str, Any] | None, rate: float) -> None:
        self._components = SimpleNamespace(images=images, audio=audio, frame_rate=Fraction(rate))

    def get_components(self) -> SimpleNamespace:
        return self._components


class Host:
    """The modules, and what our nodes did with them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.shown: list[tuple[int, int, Any]] = []
        """(value, total, preview) of each progress."""
        self.checks_left = -1
        """Looks at the cancel button until it is found pressed; negative: never."""
        self.released = 0

    def check(self) -> None:
        if self.checks_left == 0:
            raise Interrupted
        self.checks_left -= 1

    def release(self) -> None:
        self.released += 1

    def bar(self, total: int) -> SimpleNamespace:
        def show(value: int, total: int = total, preview: object = None) -> None:
            self.shown.append((value, total, preview))

        return SimpleNamespace(update_absolute=show)

    def modules(self) -> dict[str, dict[str, Any]]:
        def folder(name: str) -> Path:
            path = self.base / name
            path.mkdir(parents=True, exist_ok=True)
            return path

        models = folder("models/upscale_models")

        def names(kind: str) -> list[str]:
            return sorted(file.name for file in folder(f"models/{kind}").iterdir())

        def full_path(kind: str, name: str) -> str:
            path = folder(f"models/{kind}") / name
            if not path.is_file():  # what ComfyUI says of a link to nowhere, too
                raise FileNotFoundError(f"Model in folder '{kind}' with filename '{name}' not found.")
            return str(path)

        def folders(_kind: str) -> list[str]:
            return [str(models)]

        def patcher(model: object, **devices: torch.device) -> SimpleNamespace:
            return SimpleNamespace(model=model, **devices)

        return {
            "folder_paths": {
                "get_filename_list": names,
                "get_full_path_or_raise": full_path,
                "get_folder_paths": folders,
                "models_dir": str(self.base / "models"),
                "get_output_directory": lambda: str(folder("output")),
                "get_user_directory": lambda: str(folder("user")),
                "get_temp_directory": lambda: str(self.base / "temp"),
            },
            "comfy": {},
            "comfy.utils": {"ProgressBar": self.bar},
            "comfy.model_management": {
                "get_torch_device": lambda: DEVICE,
                "unet_offload_device": lambda: torch.device("cpu"),
                "soft_empty_cache": self.release,
                "throw_exception_if_processing_interrupted": self.check,
            },
            "comfy_api": {},
            "comfy_api.input": {"VideoInput": VideoInput},
            "comfy_api.input_impl": {"VideoFromFile": VideoFromFile},
            "comfy.model_patcher": {"ModelPatcher": patcher},
        }


def foreign_model() -> ImageModelDescriptor[Any]:
    """A small model of another architecture, from spandrel's own loader."""
    torch.manual_seed(0)
    state = Compact(num_feat=8, num_conv=2, upscale=2).state_dict()
    model = ModelLoader().load_from_state_dict(state)
    assert isinstance(model, ImageModelDescriptor)
    return model
