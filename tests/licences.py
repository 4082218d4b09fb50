"""Licences and versions of everything that the extras of pyproject.toml install.

    python -m tests.licences > docs/licences.md
    python -m tests.licences lock > requirements-dev.lock

They are read from the metadata of what is installed; a package whose licence is not on the list of compatible ones
fails tests/packaging/test_supply_chain.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
ROOT_PACKAGE = "comfyui-paragonsr"

COMPATIBLE = (
    r"0BSD|AFL.*|Apache.*|BSD.*|.*BSD License|3-Clause BSD.*|BSL-1\.0|CC0-1\.0|HPND|ISC.*|LLVM-exception|MIT.*|MIT-CMU|"
    r"MPL-2\.0|Mozilla Public License 2\.0.*|PSF-2\.0|Python Software Foundation.*|Unlicense.*|Zlib|zlib.*"
)
"""Licences under which a package may be used beside ours (MIT) by anybody and for anything. MPL-2.0 covers its own
files alone."""
OPTIONAL = r"LicenseRef-NVIDIA-Proprietary|NVIDIA Proprietary.*|Other/Proprietary License"
"""Libraries that PyTorch's CUDA build brings along. We neither ship nor import them, and its CPU build has none."""
PLATFORM = ("nvidia-", "cuda-", "triton")
"""Packages of PyTorch's CUDA build for Linux, which names their versions itself."""
LOCK_HEAD = """\
# The versions with which the tests were last run, for developers who want the same:
#     python -m pip install -c requirements-dev.lock -e ".[dev]"
# Users never see this file: what their ComfyUI or chaiNNer runs with stays as it is (docs/packaging.md).
# Renewed, in an environment whose tests pass, by
#     python -m tests.licences lock > requirements-dev.lock
# Without hashes, because PyTorch's wheels differ by system and GPU; its CUDA packages are pinned by PyTorch itself.
"""
STATED_ELSEWHERE = {
    "sigstore-models": "MIT",
    "cuda-toolkit": "NVIDIA Proprietary",  # no code, only a list of the packages above
}
"""Packages whose metadata name no licence."""


def licence_of(name: str) -> str:
    """The licence that a package's metadata state, as one line; "" if they state none."""
    found: Any = metadata.metadata(name)
    stated: str = found.get("License-Expression") or ""
    listed = cast("list[str]", found.get_all("Classifier") or [])
    classifiers = [item.rpartition(" :: ")[2] for item in listed if "License ::" in item]
    text: str = (found.get("License") or "").strip()
    first = text.splitlines()[0].strip() if text else ""
    chosen = stated or ", ".join(item for item in classifiers if item != "OSI Approved") or first
    return STATED_ELSEWHERE.get(name.lower(), chosen.removeprefix("OSI Approved :: "))


def is_allowed(name: str, licence: str) -> bool:
    """Whether every part of a licence is compatible; NVIDIA's libraries may have their own."""
    parts = re.split(r"\s+(?:AND|OR|WITH)\s+|,\s*", licence.strip("()"))
    allowed = COMPATIBLE + ("|" + OPTIONAL if name.startswith(("nvidia-", "cuda-")) else "")
    return bool(licence) and all(re.fullmatch(allowed, part.strip("()")) for part in parts)


def direct(text: str) -> set[str]:
    """Names of the packages that pyproject.toml asks for, in any extra."""
    lists = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    quoted = re.findall(r'"([A-Za-z0-9][^"]*)"', re.sub(r"#.*", "", lists))
    return {Requirement(item).name for item in quoted} - {ROOT_PACKAGE}


def installed_closure(names: set[str]) -> Iterator[str]:
    """These packages and all that they require, as far as they are installed here."""
    waiting, seen = sorted(names), set[str]()
    while waiting:
        name = canonical(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        yield name
        wanted = (Requirement(item) for item in requires)
        waiting += [item.name for item in wanted if item.marker is None or item.marker.evaluate({"extra": ""})]


def canonical(name: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def table() -> dict[str, str]:
    """Licence of every package that our extras install here."""
    return {name: licence_of(name) for name in sorted(installed_closure(direct(PYPROJECT.read_text(encoding="utf-8"))))}


def lock() -> str:
    """requirements-dev.lock."""
    names = [name for name in table() if not name.startswith(PLATFORM)]
    return LOCK_HEAD + "".join(f"{name}=={metadata.version(name)}\n" for name in names)


def page() -> str:
    """docs/licences.md."""
    rows = [f"| {name} | {licence} |" for name, licence in table().items()]
    return "\n".join(
        (
            "# Licences of what we depend on",
            "",
            "This project is under the MIT licence and ships none of these packages. The list is what the extras of",
            "`pyproject.toml` install on Linux, with all that those require, as their own metadata state it.",
            "`python -m tests.licences > docs/licences.md` writes it anew; a test fails on a licence that is not on",
            "the list of compatible ones, or not stated.",
            "",
            "The packages `nvidia-*` and `cuda-*` come with PyTorch's CUDA build and are proprietary; its CPU build",
            "has none of them, and nothing of ours imports them.",
            "",
            "| package | licence |",
            "|---|---|",
            *rows,
            "",
        )
    )


if __name__ == "__main__":
    sys.stdout.write(lock() if sys.argv[1:] == ["lock"] else page())
