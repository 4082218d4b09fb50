"""The only file that touches ComfyUI's modules, described by the few attributes that we use.

They have no annotations and exist only while ComfyUI runs, so they are imported when a function is called.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import torch
from PIL import Image
from spandrel import ImageModelDescriptor

from paragon_arch.files.records import recall

Descriptor = TypeVar("Descriptor", bound=ImageModelDescriptor[Any])
Widgets = dict[str, tuple[Any, ...]]
"""Inputs of a node by name, each with (type, options)."""
Inputs = dict[str, Widgets]
"""What a node's INPUT_TYPES returns: "required" and "optional", each name with (type, options)."""


class ProgressBar(Protocol):
    """A bar on the node that runs at the moment."""

    def update_absolute(
        self, value: int, total: int | None = None, preview: tuple[str, Image.Image, int] | None = None
    ) -> None:
        """Show ``value`` of ``total``, and a picture: (file format, picture, longest side shown)."""


class Video(Protocol):
    """What travels through links of the type VIDEO."""

    def get_stream_source(self) -> str | io.BytesIO:
        """A path, or the whole file in memory."""
        ...

    def get_components(self) -> Any:
        """Pictures, sound and frame rate; decodes the whole video where it is a file."""
        ...


class _FolderPaths(Protocol):
    models_dir: str

    def get_filename_list(self, folder_name: str) -> list[str]: ...
    def get_full_path_or_raise(self, folder_name: str, filename: str) -> str: ...
    def get_folder_paths(self, folder_name: str) -> list[str]: ...
    def get_output_directory(self) -> str: ...
    def get_temp_directory(self) -> str: ...
    def get_user_directory(self) -> str: ...
    def add_model_folder_path(self, folder_name: str, full_folder_path: str) -> None: ...


class _ModelManagement(Protocol):
    def get_torch_device(self) -> torch.device: ...
    def should_use_fp16(self, device: torch.device) -> bool: ...
    def should_use_bf16(self, device: torch.device) -> bool: ...
    def unet_offload_device(self) -> torch.device: ...
    def free_memory(self, memory_required: float, device: torch.device) -> object: ...
    def soft_empty_cache(self) -> None: ...
    def throw_exception_if_processing_interrupted(self) -> None: ...


def _folder_paths() -> _FolderPaths:
    return cast(_FolderPaths, importlib.import_module("folder_paths"))


def _management() -> _ModelManagement:
    return cast(_ModelManagement, importlib.import_module("comfy.model_management"))


def add_models(folder: Path) -> None:
    """Let every loader of upscale models list the files in `folder`, after those of the user's own folders."""
    _folder_paths().add_model_folder_path("upscale_models", str(folder))


def model_names() -> list[str]:
    """Names of the files in ComfyUI's `upscale_models` folders, sub-folders included."""
    return _folder_paths().get_filename_list("upscale_models")


def model_path(name: str) -> str:
    """Full path of a file that `model_names` listed; raises FileNotFoundError when it is gone."""
    return _folder_paths().get_full_path_or_raise("upscale_models", name)


def add_graph_folder() -> None:
    """Make the folder ``models/onnx`` known, beside those that the user's own configuration names."""
    _folder_paths().add_model_folder_path("onnx", str(graphs_folder()))


def graphs_folder() -> Path:
    """Where exported graphs belong."""
    return Path(_folder_paths().models_dir) / "onnx"


def graph_names() -> list[str]:
    """Names of the ONNX files in ComfyUI's `onnx` folders, sub-folders included."""
    return [name for name in _folder_paths().get_filename_list("onnx") if name.lower().endswith(".onnx")]


def graph_path(name: str) -> str:
    """Full path of a file that `graph_names` listed; raises FileNotFoundError when it is gone."""
    return _folder_paths().get_full_path_or_raise("onnx", name)


def stamp(file: Path) -> str:
    """Changes when a file is replaced."""
    stat = file.stat()
    return f"{stat.st_mtime_ns}:{stat.st_size}"


def models_folder() -> Path:
    """The `upscale_models` folder that new models belong in: the first one configured."""
    return Path(_folder_paths().get_folder_paths("upscale_models")[0])


def output_folder() -> Path:
    """ComfyUI's output folder."""
    return Path(_folder_paths().get_output_directory())


def setting(name: str) -> object:
    """A value from ComfyUI's settings dialogue; None where it was never changed.

    With several users (``--multi-user``) it is the one of the user "default".
    """
    file = Path(_folder_paths().get_user_directory()) / "default" / "comfy.settings.json"
    return recall(file).get(name)


def temporary_folder() -> Path:
    """ComfyUI's temporary folder, which the browser may read from and which is emptied at every start."""
    folder = Path(_folder_paths().get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def device() -> torch.device:
    """Where ComfyUI runs models."""
    return _management().get_torch_device()


def intermediate_dtype() -> torch.dtype:
    """What pictures travel in between nodes: float32, or what newer cores are told by ``--fp16-intermediates``."""
    ask: Callable[[], torch.dtype] | None = getattr(_management(), "intermediate_dtype", None)
    return torch.float32 if ask is None else ask()


def half_precisions(device: torch.device) -> tuple[str, ...]:
    """The half precisions that ComfyUI uses on a device: it knows the cards, and --force-fp32 and --force-fp16.

    On the CPU, where it uses none, those that can be asked for.
    """
    if device.type == "cpu":
        return ("fp16", "bf16")
    asked = {"fp16": _management().should_use_fp16, "bf16": _management().should_use_bf16}
    return tuple(name for name, ask in asked.items() if ask(device))


def make_room(size: int) -> None:
    """Let ComfyUI move other models off its device until ``size`` bytes are free there."""
    _management().free_memory(size, device())


def release_memory() -> None:
    """Give cached memory of the device back."""
    _management().soft_empty_cache()


def raise_if_interrupted() -> None:
    """Raise ComfyUI's own exception if the user pressed cancel."""
    _management().throw_exception_if_processing_interrupted()


def progress_bar(total: int) -> ProgressBar:
    """A new bar on the node that runs at the moment."""
    return cast(ProgressBar, importlib.import_module("comfy.utils").ProgressBar(total))


def is_encoded(video: Video) -> bool:
    """Whether a video is a file already; else it is pictures and sound, which asking for a stream would compress."""
    general: Any = importlib.import_module("comfy_api.input").VideoInput
    return getattr(type(video), "get_stream_source", None) is not general.get_stream_source


def video_from_file(path: Path) -> Video:
    """A file as a VIDEO."""
    return cast(Video, importlib.import_module("comfy_api.input_impl").VideoFromFile(str(path)))


_PAGES = ThreadPoolExecutor(1, "paragonsr-pages")
"""Makes our pages, one after the other: the server needs its own threads for files, and a model takes memory."""
MAX_WAITING = 32
"""Requests for our pages that may wait; more are told to come again."""


def add_page(route: str, page: Callable[[Mapping[str, str]], tuple[int, str]], content_type: str = "text/html") -> None:
    """Let ComfyUI's web server answer a GET of ``route``: ``page`` turns the query into (status, text).

    Pages of other sites, which a browser lets ask but not read, are refused: a question costs work. Nothing happens
    where there is no server, as in tools that only import custom nodes.
    """
    server: Any = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if server is None:
        return
    web: Any = importlib.import_module("aiohttp.web")

    waiting = 0

    async def answer(request: Any) -> object:
        nonlocal waiting
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            return web.Response(status=403, text="asked by another site")
        if waiting >= MAX_WAITING:
            return web.Response(status=503, text="busy", headers={"Retry-After": "5"})
        waiting += 1
        try:
            status, text = await asyncio.get_running_loop().run_in_executor(_PAGES, page, dict(request.query))
        finally:
            waiting -= 1
        return web.Response(status=status, text=text, content_type=content_type)

    server.routes.get(route)(answer)


def as_upscale_model(descriptor: Descriptor) -> Descriptor:
    """Give `descriptor` what the upscale nodes of newer cores expect of an UPSCALE_MODEL, and return it.

    Those move the network between devices through an attribute `patcher`; older cores do not look at it.
    """
    patching = importlib.import_module("comfy.model_patcher")
    patcher_class: Any = getattr(patching, "CoreModelPatcher", None) or patching.ModelPatcher
    patcher = patcher_class(descriptor.model, load_device=device(), offload_device=_management().unet_offload_device())
    descriptor.patcher = patcher  # pyright: ignore[reportAttributeAccessIssue]  (the core does the same)
    return descriptor
