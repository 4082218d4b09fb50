"""The only file that touches ComfyUI's modules, described by the few attributes that we use.

They have no annotations and exist only while ComfyUI runs, so they are imported when a function is called.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, TypeVar, cast

import torch
from spandrel import ImageModelDescriptor

Descriptor = TypeVar("Descriptor", bound=ImageModelDescriptor[Any])


class _FolderPaths(Protocol):
    def get_filename_list(self, folder_name: str) -> list[str]: ...
    def get_full_path_or_raise(self, folder_name: str, filename: str) -> str: ...


class _ModelManagement(Protocol):
    def get_torch_device(self) -> torch.device: ...
    def unet_offload_device(self) -> torch.device: ...


def _folder_paths() -> _FolderPaths:
    return cast(_FolderPaths, importlib.import_module("folder_paths"))


def model_names() -> list[str]:
    """Names of the files in ComfyUI's `upscale_models` folders, sub-folders included."""
    return _folder_paths().get_filename_list("upscale_models")


def model_path(name: str) -> str:
    """Full path of a file that `model_names` listed; raises FileNotFoundError when it is gone."""
    return _folder_paths().get_full_path_or_raise("upscale_models", name)


def as_upscale_model(descriptor: Descriptor) -> Descriptor:
    """Give `descriptor` what the upscale nodes of newer cores expect of an UPSCALE_MODEL, and return it.

    Those move the network between devices through an attribute `patcher`; older cores do not look at it.
    """
    patching = importlib.import_module("comfy.model_patcher")
    management = cast(_ModelManagement, importlib.import_module("comfy.model_management"))
    patcher_class: Any = getattr(patching, "CoreModelPatcher", None) or patching.ModelPatcher
    patcher = patcher_class(
        descriptor.model, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )
    descriptor.patcher = patcher  # pyright: ignore[reportAttributeAccessIssue]  (the core does the same)
    return descriptor
