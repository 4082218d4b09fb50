"""Imports a custom node pack as ComfyUI does, and prints what came of it as JSON.

    python fake_comfyui.py PACK [--block MODULE] [--preload FILE] [--after PACK]

Stands in for ComfyUI's loader only: the pack's module is named after its path with dots replaced, a top-level module
`nodes` and `folder_paths` exist before. `--block` makes a module impossible to import; `--preload` imports a file as
`paragon_arch` first, as another program in the same process might have done; `--after` imports another copy of the pack
first. What is logged goes to the result.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import sys
import types
from pathlib import Path


def load(name: str, file: Path) -> types.ModuleType:
    """Import `file` under `name`."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def report(pack: types.ModuleType) -> dict[str, object]:
    """What the tests look at."""
    import nodes

    arch = sys.modules["paragon_arch"]
    from spandrel import MAIN_REGISTRY

    ids = [str(support.architecture.id) for support in MAIN_REGISTRY]
    return {
        "nodes": sorted(pack.NODE_CLASS_MAPPINGS),
        "names": sorted(pack.NODE_DISPLAY_NAME_MAPPINGS),
        "host_nodes": nodes.__doc__,
        "arch_file": arch.__file__,
        "engine_file": sys.modules["paragon_engine"].__file__,
        "ids": ids,
        "top_level": sorted(name for name in sys.modules if "." not in name),
    }


def main() -> None:
    """Prepare the stand-ins, import the pack, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("--block")
    parser.add_argument("--preload", type=Path)
    parser.add_argument("--after", type=Path)
    arguments = parser.parse_args()
    for name in ("nodes", "folder_paths"):
        sys.modules[name] = types.ModuleType(name, "the host's own")
    added: list[tuple[str, str]] = []

    def add_model_folder_path(kind: str, folder: str) -> None:
        added.append((kind, folder))

    vars(sys.modules["folder_paths"]).update(add_model_folder_path=add_model_folder_path, models_dir="models")
    if arguments.block:
        sys.modules[arguments.block] = None  # pyright: ignore[reportArgumentType]  (Python's way to forbid an import)
    if arguments.preload:
        load("paragon_arch", arguments.preload)
    path_before = list(sys.path)
    name = str(arguments.pack).replace(".", "_x_")
    logged: list[str] = []
    logging.getLogger().addHandler(handler := logging.Handler())
    handler.emit = lambda record: logged.append(record.getMessage())
    if arguments.after:
        load("first", arguments.after / "__init__.py")
    try:
        result = {**report(load(name, arguments.pack / "__init__.py")), "model_folders": added}
    except ImportError as error:
        result: dict[str, object] = {"error": str(error)}
    web = getattr(sys.modules.get(name), "WEB_DIRECTORY", None)
    sys.stdout.write(json.dumps({**result, "web": web, "log": logged, "path_unchanged": sys.path == path_before}))


if __name__ == "__main__":
    main()
