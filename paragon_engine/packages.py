"""Optional packages: whether one is there, the one message for where it is not, and where what they make is kept."""

from __future__ import annotations

import os
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from paragon_arch.errors import InvalidOptionError

INSTALL = {
    "av": "pip install av",
    "fsspec": "pip install fsspec",
    "matplotlib": "pip install matplotlib",
    "model_signing": "pip install model-signing",
    "ncnn": "pip install ncnn",
    "onnx": "pip install onnx",
    "onnxruntime": "pip install onnxruntime",
    "onnxslim": "pip install onnxslim",
    "openvino": "pip install openvino",
    "ray": "pip install ray[data]",
    "tensorrt": "pip install tensorrt",
}
"""By module: the command that installs it."""


def installed(module: str) -> bool:
    """Whether a top-level module can be imported; it is not imported."""
    return find_spec(module) is not None


def version(module: str) -> str:
    """Version of an installed module; some are distributed under other names (onnxruntime-gpu)."""
    names = metadata.packages_distributions().get(module, [module])
    try:
        return metadata.version(names[0])
    except metadata.PackageNotFoundError:
        return "of unknown version"


def require(module: str, purpose: str) -> Any:
    """Import an optional package.

    Args:
        module: dotted name; its first part is a key of `INSTALL`.
        purpose: what needs it, as the subject of the message.

    Raises:
        InvalidOptionError: it is not installed, or cannot be loaded; the message has the command that installs it.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        state = f"cannot be loaded ({error})" if installed(package) else "is not installed"
        raise InvalidOptionError(f"{purpose} needs the package {package}, which {state}: {INSTALL[package]}") from error


def cache_folder() -> Path:
    """Where things are kept that can be made again: PARAGONSR_CACHE, else in the user's cache folder of the system."""
    given = os.environ.get("PARAGONSR_CACHE")
    if given:
        return Path(given)
    folder = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path.home() / ".cache") / "paragonsr"
