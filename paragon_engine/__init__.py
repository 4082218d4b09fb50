"""Running a model of the family: pictures in and out, tiling, folders, progress, the models that ship.

    from paragon_engine import Upscaler, upscale_file
    with Upscaler("2x-ParagonSR2-Realtime-v1") as upscaler:
        upscale_file(upscaler, "photo.jpg", "photo_2x.png")

Knows nothing of argparse, ComfyUI or any other host; `deploy`, `nodes` and `training` call it. Importing this package
is cheap; torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .jobs import upscale_files
    from .pictures import Picture, read_image, write_image
    from .tiling import upscale_tensor
    from .upscale import UpscaleSettings, upscale_file, upscale_picture
    from .upscaler import Upscaler
    from .video import upscale_video

_HOMES = {
    "Picture": "pictures",
    "UpscaleSettings": "upscale",
    "Upscaler": "upscaler",
    "read_image": "pictures",
    "upscale_file": "upscale",
    "upscale_files": "jobs",
    "upscale_picture": "upscale",
    "upscale_tensor": "tiling",
    "upscale_video": "video",
    "write_image": "pictures",
}

__all__ = [
    "Picture",
    "UpscaleSettings",
    "Upscaler",
    "read_image",
    "upscale_file",
    "upscale_files",
    "upscale_picture",
    "upscale_tensor",
    "upscale_video",
    "write_image",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value
