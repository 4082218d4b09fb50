"""What the nodes around ONNX need and ComfyUI does not bring, asked for at once and with one command."""

from __future__ import annotations

import sys

from paragon_arch.errors import InvalidOptionError
from paragon_engine.packages import installed

from . import host

READING = ("onnx",)
WRITING = ("onnx", "onnxslim")
TENSORRT = "onnxruntime-tensorrt"


def require_packages(modules: tuple[str, ...], provider: str = "auto") -> None:
    """Refuse to start where packages are missing.

    Args:
        modules: needed beside a runtime.
        provider: that was chosen; some need more than any build of ONNX Runtime.

    Raises:
        InvalidOptionError: some are missing; the message has the command, with the Python that runs ComfyUI.
    """
    missing = [module for module in modules if not installed(module)]
    runtime = "openvino" if provider == "openvino" else "onnxruntime"
    if not installed(runtime):
        missing.append(_build(provider))
    if missing:
        what = f"{', '.join(missing)}, which ComfyUI does not bring"
        raise InvalidOptionError(
            f"this node needs {what}. Run this in a terminal, then restart ComfyUI: {command(missing)}"
        )


def hints(provider: str) -> list[str]:
    """What would make the choice usable, where only packages are missing: the CPU does the work meanwhile."""
    if provider != TENSORRT or installed("tensorrt"):
        return []
    return [f"note: TensorRT itself is missing: {command(['onnxruntime-gpu', 'tensorrt'])}"]


def command(packages: list[str]) -> str:
    """Installs packages into the Python that runs ComfyUI, which in the portable version is not the system's."""
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f"{python} -m pip install {' '.join(packages)}"


def _build(provider: str) -> str:
    """The one build of ONNX Runtime for the hardware; a second one beside it would overwrite it."""
    if provider == "openvino":
        return "openvino"
    named = {
        "onnxruntime-cuda": "onnxruntime-gpu",
        TENSORRT: "onnxruntime-gpu",
        "onnxruntime-directml": "onnxruntime-directml",
        "onnxruntime-openvino": "onnxruntime-openvino",
    }
    return named.get(provider) or ("onnxruntime-gpu" if host.device().type == "cuda" else "onnxruntime")
