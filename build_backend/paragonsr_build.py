"""The build back end: wheels by its own hand, editable installs and source archives by setuptools.

Our packages are pure Python, so that a wheel is a zip file of what lies in the checkout. Written here, it needs neither
setuptools nor a network, leaves nothing behind in the checkout, and can have the two start-up files beside the
packages, for which setuptools has no way. What is packed stands in pyproject.toml, in setuptools' own tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from paragon_chainner.archive import START_UP_FILES, add_files, write_wheel

SETUPTOOLS = "setuptools>=77.0.3"
"""The first that takes the licence of pyproject.toml."""
_READERS = ("tomllib", "tomli", "pip._vendor.tomli")
"""Modules that read TOML: Python 3.11 has one, and with 3.10 comes the one of its pip."""


def build_wheel(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """PEP 517: write a wheel of the current folder into `wheel_directory` and return its file name."""
    return build(Path.cwd(), Path(wheel_directory)).name


def get_requires_for_build_wheel(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """PEP 517: what `build_wheel` needs, which is nothing from Python 3.11 on."""
    return [] if _toml() else ["tomli>=2"]


def build_editable(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """PEP 660: a wheel that imports from the checkout, by setuptools, with the start-up files added."""
    name: str = _setuptools().build_editable(wheel_directory, config_settings, metadata_directory)
    add_files(Path(wheel_directory, name), START_UP_FILES)
    return name


def build_sdist(sdist_directory: str, config_settings: Mapping[str, Any] | None = None) -> str:
    """PEP 517: a source archive, by setuptools."""
    return _setuptools().build_sdist(sdist_directory, config_settings)


def get_requires_for_build_editable(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """PEP 660: what `build_editable` needs."""
    return [SETUPTOOLS]


def get_requires_for_build_sdist(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """PEP 517: what `build_sdist` needs."""
    return [SETUPTOOLS]


def _setuptools() -> Any:
    return import_module("setuptools.build_meta")


def build(source: Path, folder: Path) -> Path:
    """Write the wheel of a checkout into `folder`.

    Raises:
        OSError: a file cannot be read or written.
        RuntimeError: this Python has no reader of TOML.
    """
    described = _described(source)
    project, layout = described["project"], described["tool"]["setuptools"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    contents = {**START_UP_FILES, **dict(_packed(source, layout)), **_notes(source, project, f"{stem}.dist-info")}
    wheel = folder / f"{stem}-py3-none-any.whl"
    write_wheel(wheel, contents)
    return wheel


def _toml() -> Any:
    """The first reader of TOML that is here, or None."""
    for name in _READERS:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def _described(source: Path) -> dict[str, Any]:
    reader = _toml()
    if reader is None:
        raise RuntimeError("this Python cannot read pyproject.toml: install tomli into it, or use Python 3.11 or newer")
    return reader.loads((source / "pyproject.toml").read_text(encoding="utf-8"))


def _packed(source: Path, layout: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Modules and data of all packages: name in the wheel, content."""
    for package in layout["packages"]:
        data = layout["package-data"]
        patterns = ["*.py", *data["*"], *data.get(package, ())]
        folder = source / _folder(package, layout["package-dir"])
        for file in sorted({file for pattern in patterns for file in folder.glob(pattern)}):
            yield f"{package.replace('.', '/')}/{file.name}", file.read_bytes()


def _folder(package: str, folders: Mapping[str, str]) -> str:
    """Where a package lies: as stated for it, else below its parent."""
    if package in folders:
        return folders[package]
    parent, _, name = package.rpartition(".")
    return f"{_folder(parent, folders)}/{name}"


def _notes(source: Path, project: Mapping[str, Any], folder: str) -> dict[str, bytes]:
    """The files of the .dist-info folder, without RECORD."""
    scripts = [f"{name} = {target}" for name, target in project["scripts"].items()]
    texts = {
        "METADATA": _metadata(source, project),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: paragonsr_build\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "\n".join(["[console_scripts]", *scripts, ""]),
    }
    notes = {f"{folder}/{name}": text.encode() for name, text in texts.items()}
    return notes | {f"{folder}/licenses/{name}": (source / name).read_bytes() for name in project["license-files"]}


def _metadata(source: Path, project: Mapping[str, Any]) -> str:
    """METADATA (core metadata 2.4)."""
    extras: dict[str, list[str]] = project["optional-dependencies"]
    fields = [
        ("Metadata-Version", "2.4"),
        ("Name", project["name"]),
        ("Version", project["version"]),
        ("Summary", project["description"]),
        ("Author", ", ".join(author["name"] for author in project["authors"])),
        ("License-Expression", project["license"]),
        ("Keywords", ",".join(project["keywords"])),
        *(("Classifier", item) for item in project["classifiers"]),
        ("Requires-Python", project["requires-python"]),
        ("Description-Content-Type", "text/markdown"),
        *(("License-File", name) for name in project["license-files"]),
        *(("Requires-Dist", item) for item in project["dependencies"]),
    ]
    for extra, items in extras.items():
        fields += [("Provides-Extra", extra), *(("Requires-Dist", _only_for(extra, item)) for item in items)]
    head = "".join(f"{key}: {value}\n" for key, value in fields)
    return f"{head}\n{(source / project['readme']).read_text(encoding='utf-8')}"


def _only_for(extra: str, requirement: str) -> str:
    """A requirement of an extra, as METADATA has it."""
    need, _, marker = (part.strip() for part in requirement.partition(";"))
    condition = f'extra == "{extra}"'
    if marker:
        condition = f"({marker}) and {condition}" if re.search(r"\bor\b", marker) else f"{marker} and {condition}"
    return f"{need}; {condition}"
