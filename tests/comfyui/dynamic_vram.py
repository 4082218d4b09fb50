"""A model as ComfyUI's DynamicVRAM has it on a GPU, through our nodes: `python dynamic_vram.py COMFYUI PACK LOADER`.

ComfyUI's own ModelPatcherDynamic and its native library are real. Only the device is not: while the model is loaded,
it is said to be cuda:0. A copy of a native handle is freed twice, and the process dies.
"""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

NAME = "2x-ParagonSR2-Realtime-v1.safetensors"


class _Bar:
    """A progress bar that nobody sees."""

    def update_absolute(self, *_: object) -> None:
        """Show nothing."""


def _pack(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location(
        "custom_nodes.Pack", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _loaded(pack: Any, loader: str) -> Any:
    if loader == "ours":
        return pack.NODE_CLASS_MAPPINGS["ParagonSRLoadModel"]().load(NAME)["result"][0]
    core: Any = importlib.import_module("comfy_extras.nodes_upscale_model")
    return core.UpscaleModelLoader.execute(NAME).result[0]


def main(comfyui: str, folder: str, loader: str) -> None:
    """Load, upscale and fuse, three times each."""
    faulthandler.enable()
    sys.path.insert(0, comfyui)
    sys.argv = ["main.py", "--cpu"]
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("comfy_aimdo.control").init("cuda")
    torch: Any = importlib.import_module("torch")
    management: Any = importlib.import_module("comfy.model_management")
    patching: Any = importlib.import_module("comfy.model_patcher")
    memory: Any = importlib.import_module("comfy.memory_management")
    memory.aimdo_enabled = True  # as ComfyUI's main.py does on a GPU
    patching.CoreModelPatcher = patching.ModelPatcherDynamic
    pack = _pack(Path(folder))
    sys.modules["custom_nodes.Pack.nodes.host"].progress_bar = lambda _: _Bar()  # pyright: ignore
    on_cpu = management.get_torch_device
    management.get_torch_device = lambda: torch.device("cuda", 0)
    model = _loaded(pack, loader)
    management.get_torch_device = on_cpu
    assert type(model.patcher).__name__ == "ModelPatcherDynamic"
    assert model.model.dynamic_pins
    upscale, fuse = (pack.NODE_CLASS_MAPPINGS[f"ParagonSR{name}"]() for name in ("UpscaleImage", "FuseModel"))
    for _ in range(3):
        image, _mask = upscale.upscale(model, torch.rand(1, 32, 32, 3), "model scale", 2.0, 0, 0, "auto", "auto")
        assert tuple(image.shape) == (1, 64, 64, 3)
        assert "dynamic_pins" not in vars(_loaded_fused(fuse, model))
    sys.stdout.write("survived\n")


def _unchanged(descriptor: Any) -> Any:
    return descriptor


def _loaded_fused(fuse: Any, model: Any) -> Any:
    """The fused network, before ComfyUI has hung anything of its own on it."""
    host: Any = sys.modules["custom_nodes.Pack.nodes.host"]
    as_upscale_model, host.as_upscale_model = host.as_upscale_model, _unchanged
    try:
        return fuse.fuse(model)[0].model
    finally:
        host.as_upscale_model = as_upscale_model


if __name__ == "__main__":
    main(*sys.argv[1:])
