"""The drop-in: one file in chaiNNer's own source that loads the libraries from where they are.

For a Python into which nothing can be installed. chaiNNer imports every module of its package folders, so a file there
needs no change of the app's own files. An update of the app removes it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from paragon_arch.errors import OutputError
from paragon_arch.files.atomic import atomic_path
from paragon_arch.files.patience import patiently

from .locate import PYTORCH_PACKAGE
from .wheels import library_folder

NAME = "paragonsr_drop_in.py"
MARK = "# Written by `paragonsr chainner install`; `paragonsr chainner uninstall` removes it.\n"
AS_OWNER = "run this as the user who owns that folder, or as administrator"
TEMPLATE = '''\
"""Makes chaiNNer load ParagonSR models and have our nodes. chaiNNer imports every module of this folder."""

import importlib.util
import sys
from pathlib import Path

LIBRARIES = Path({folder!r})


def load(name):
    """Import a package from LIBRARIES, without making the rest of that folder importable."""
    if name in sys.modules:
        return
    package = LIBRARIES / name
    if not package.is_dir():
        raise ImportError(f"ParagonSR was moved or removed: there is no {{package}}. Install it into chaiNNer again.")
    spec = importlib.util.spec_from_file_location(
        name, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


for name in ("paragon_arch", "paragon_engine", "paragon_chainner"):
    load(name)

from paragon_arch import register  # noqa: E402
from paragon_chainner.nodes import add_nodes  # noqa: E402

register()
add_nodes()
'''


def path_in(backend: Path) -> Path:
    """Where the file goes."""
    return backend / PYTORCH_PACKAGE / NAME


def content() -> str:
    """The file for this copy of the project."""
    return MARK + TEMPLATE.format(folder=str(library_folder()))


def current(backend: Path) -> str | None:
    """What is there now, or None.

    Raises:
        OutputError: a file of that name is there that is not ours, or cannot be read.
    """
    file = path_in(backend)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{file}: cannot be read ({error}); move it away") from error
    if not text.startswith(MARK):
        raise OutputError(f"{file}: not a file of ours, it is left alone; move it away")
    return text


def check_writable(backend: Path) -> None:
    """Raise `OutputError` if permission to write the file is missing."""
    folder = path_in(backend).parent
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: no permission to write there; {AS_OWNER}")


def write(backend: Path) -> None:
    """Write the file, over an older one of ours.

    Raises:
        OutputError: permission is missing, or a file of that name is not ours.
    """
    current(backend)
    check_writable(backend)
    with atomic_path(path_in(backend), overwrite=True) as temporary:
        temporary.write_text(content(), encoding="utf-8", newline="\n")


def remove(backend: Path) -> None:
    """Remove the file and its byte code.

    Raises:
        OutputError: it is not ours, or permission is missing.
    """
    if current(backend) is None:
        return
    file = path_in(backend)
    cache = file.parent / "__pycache__"
    try:
        for compiled in cache.glob(f"{file.stem}.*.pyc"):
            patiently(compiled.unlink)
        patiently(file.unlink)
    except OSError as error:
        raise OutputError(f"{file}: cannot be removed ({error}); close chaiNNer and {AS_OWNER}") from error
    with contextlib.suppress(OSError):  # an empty one was made for our file alone; others stay
        cache.rmdir()
