"""ComfyUI imports this file as a custom node pack. Anywhere else (pytest, pip, `python -m deploy`) it does nothing.

ComfyUI names the pack's module after a file-system path and has a top-level module `nodes` of its own. So imports of
our nodes are relative, and the two libraries are put into `sys.modules` under their own names; `sys.path` stays as it
is.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

__version__ = "0.1.0"

NODE_CLASS_MAPPINGS: dict[str, type] = {}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {}
WEB_DIRECTORY = "./web"
"""What ComfyUI hands to browsers: our widgets and the nodes' help pages."""

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]


def _import_library(name: str, folder: Path) -> ModuleType:
    """Import package `name` from inside `folder`, unless it is in `sys.modules` already."""
    if name in sys.modules:
        return sys.modules[name]
    package = folder / name
    spec = importlib.util.spec_from_file_location(
        name, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"ParagonSR: {package} is not a package; install the pack again")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_libraries() -> ModuleType:
    """Import paragon_arch and paragon_engine, both from one place, and return the first.

    An installed copy in site-packages is passed over, so that nodes and libraries are of one version. A copy that
    somebody imported before us stays, because spandrel knows its classes already and two copies would not recognise
    each other's models; but then its version has to be ours.
    """
    arch = _import_library("paragon_arch", Path(__file__).resolve().parent)
    origin, version = Path(str(arch.__file__)), getattr(arch, "__version__", "unknown")
    if version != __version__:
        raise ImportError(
            f"ParagonSR {__version__} finds paragon_arch {version} of {origin.parent} already imported. Uninstall that "
            f"copy ({sys.executable} -m pip uninstall comfyui-paragonsr) or bring both to one version."
        )
    _import_library("paragon_engine", origin.parent.parent)
    return arch


def _is_first(arch: ModuleType) -> bool:
    """Whether no other copy of the pack has started; what is wrong with this one's place goes to ComfyUI's log."""
    folder = Path(__file__).resolve().parent
    first = vars(arch).setdefault("_comfyui_pack", folder)
    if first != folder:
        logging.warning("ParagonSR is installed twice: %s is used, %s is not. Remove one of them.", first, folder)
    elif quote(folder.name) != folder.name:
        cure = "rename it, to ComfyUI-ParagonSR for example"
        logging.warning(
            "ParagonSR: browsers cannot load the pack's pages from a folder called %r: %s", folder.name, cure
        )
    return bool(first == folder)


def _start() -> bool:
    """Make spandrel know our architectures; False where another copy of the pack has done so.

    Raises:
        ImportError: a package is missing or another version of ours is in the way. ComfyUI logs the message.
    """
    try:
        arch = _import_libraries()
        arch.register()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("paragon_"):  # a file of ours is missing: nothing to pip install
            raise
        raise ImportError(
            f"ParagonSR needs the package {error.name!r}, which ComfyUI's own requirements install. Run: "
            f"{sys.executable} -m pip install -r {Path(__file__).resolve().parent / 'requirements.txt'}"
        ) from error
    return _is_first(arch)


if __package__ and "folder_paths" in sys.modules:  # ComfyUI imports folder_paths before any custom node
    if _start():
        from . import nodes

        NODE_CLASS_MAPPINGS.update(nodes.NODE_CLASS_MAPPINGS)
        NODE_DISPLAY_NAME_MAPPINGS.update(nodes.NODE_DISPLAY_NAME_MAPPINGS)
        nodes.start()
    else:
        WEB_DIRECTORY = None  # pyright: ignore[reportConstantRedefinition]
