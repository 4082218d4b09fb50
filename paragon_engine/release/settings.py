"""What to release: from arguments, or from a manifest of many models in TOML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from paragon_arch.errors import InvalidOptionError
from paragon_arch.files.records import read_toml

from ..engines import Profile
from .export import ExportOptions
from .facts import Credits, stem_of


@dataclass(frozen=True)
class ReleaseSettings:
    """One model to release."""

    checkpoint: Path
    output: Path
    """The folder to make."""
    title: str = ""
    """Of the card; "" for the checkpoint's name."""
    description: str = ""
    """A paragraph for the card."""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Values for `paragon_arch.load`."""
    export: ExportOptions = field(default_factory=ExportOptions)
    pictures: tuple[Path, ...] = ()
    """To verify on and to show; () takes a part of the calibration pictures, or generated ones without any."""
    calibration: tuple[Path, ...] = ()
    """To calibrate the INT8 graph on; () makes none."""
    video: bool = False
    """Also the graphs with the feature tap."""
    accept_identity: bool = False
    speed: bool = True
    """Measure and state the speed on this machine."""
    profile: Profile = field(default_factory=Profile)
    """For the TensorRT commands."""

    @property
    def stem(self) -> str:
        """What the names of files start with."""
        return stem_of(self.checkpoint)


_LONGEST = 200
"""Bytes of a name: file systems take 255, and ours get endings."""
PATHS = ("pictures", "calibration")
OPTIONS = ("opset", "io", "slim", "precisions")
KEYS = {
    "checkpoint": "path of the checkpoint; required",
    "name": "name of the model's folder below the output (default: the checkpoint's name)",
    "title": "heading of the card",
    "description": "a paragraph for the card",
    "author": "who made the weights",
    "license": "SPDX name of their licence",
    "scale": "as --scale",
    "alpha": "as --alpha",
    "window_size": "as --window-size",
    "pictures": "files and folders to verify on",
    "calibration": "files and folders to calibrate INT8 on",
    "video": "true also makes the video graphs",
    "accept_identity": "as --accept-identity-kernel",
    "speed": "false leaves the speed table out",
    "opset": "as --opset",
    "io": "as --io",
    "slim": "false leaves onnxslim out",
    "precisions": 'as --precision, e.g. ["fp32"]',
    "profile": "sizes for TensorRT: {min = [64, 64], opt = [720, 1280], max = [1080, 1920]}",
}
"""Every key of a ``[[model]]`` table (``[defaults]`` takes the same ones), with its meaning."""
_TYPES: dict[str, type | tuple[type, ...]] = {
    "scale": int,
    "alpha": (int, float),
    "window_size": int,
    "pictures": list,
    "calibration": list,
    "video": bool,
    "accept_identity": bool,
    "speed": bool,
    "opset": int,
    "slim": bool,
    "precisions": list,
    "profile": dict,
}
"""Those that are not text."""


def read_manifest(path: Path, output: Path) -> list[ReleaseSettings]:
    """Read a manifest.

    Its form::

        [defaults]
        author = "..."

        [[model]]
        checkpoint = "2x_model.safetensors"
        calibration = ["photos"]

    Paths are relative to the manifest. Each model gets a folder of its own below ``output``.

    Raises:
        InvalidOptionError: not TOML, an unknown key, a wrong type, a missing checkpoint, or two models of one name.
    """
    data = read_toml(path)
    unknown = set(data) - {"defaults", "model"}
    if unknown or not isinstance(data.get("model"), list) or not isinstance(data.get("defaults", {}), dict):
        raise InvalidOptionError(f"{path}: expected [[model]] tables and [defaults], found {', '.join(sorted(data))}")
    defaults, found = cast("dict[str, Any]", data.get("defaults", {})), list[ReleaseSettings]()
    for index, table in enumerate(cast("list[Any]", data["model"]), start=1):
        where = f"{path}, model {index}"
        if not isinstance(table, dict):
            raise InvalidOptionError(f"{where}: expected a [[model]] table")
        found.append(_settings({**defaults, **cast("dict[str, Any]", table)}, path.parent, output, where))
    names = Counter(item.output.name.casefold() for item in found)  # one folder, where names have no case
    if names and (twice := names.most_common(1)[0])[1] > 1:
        raise InvalidOptionError(f"{path}: two models would become {twice[0]}: give each a name of its own")
    if not found:
        raise InvalidOptionError(f"{path}: there is no [[model]] in it")
    return found


def _settings(table: Mapping[str, Any], base: Path, output: Path, where: str) -> ReleaseSettings:
    _check(table, where)
    checkpoint = base / str(table["checkpoint"])
    options = {key: table[key] for key in OPTIONS if key in table}
    if "precisions" in options:
        options["precisions"] = tuple(options["precisions"])
    return ReleaseSettings(
        checkpoint=checkpoint,
        output=output / _folder_name(str(table.get("name", stem_of(checkpoint))), where),
        title=str(table.get("title", "")),
        description=str(table.get("description", "")),
        overrides={key: table[key] for key in ("scale", "alpha", "window_size") if key in table},
        export=ExportOptions(**options, credits=Credits(str(table.get("author", "")), str(table.get("license", "")))),
        pictures=tuple(base / str(item) for item in table.get("pictures", ())),
        calibration=tuple(base / str(item) for item in table.get("calibration", ())),
        video=table.get("video", False),
        accept_identity=table.get("accept_identity", False),
        speed=table.get("speed", True),
        profile=_profile(table.get("profile", {}), where),
    )


def _check(table: Mapping[str, Any], where: str) -> None:
    unknown = sorted(set(table) - set(KEYS))
    if unknown:
        raise InvalidOptionError(f"{where}: {unknown[0]!r} is unknown; the keys are {', '.join(KEYS)}")
    if "checkpoint" not in table:
        raise InvalidOptionError(f"{where}: the checkpoint is missing")
    for key, value in table.items():
        kind = _TYPES.get(key, str)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InvalidOptionError(f"{where}: {key} = {value!r} has the wrong type; it is {KEYS[key]}")
        if isinstance(value, list) and not all(isinstance(item, str) for item in cast("list[object]", value)):
            raise InvalidOptionError(f"{where}: {key} holds something else than text; it is {KEYS[key]}")
    wrong = set(table.get("precisions", ())) - {"fp32", "fp16"}
    if wrong or table.get("io", "fp32") not in ("fp32", "fp16"):
        raise InvalidOptionError(f"{where}: precisions and io are fp32 or fp16")


def _folder_name(name: str, where: str) -> str:
    """The name, if it is that of one folder on every system, and not hidden."""
    odd = not name or name[0] == "." or name[-1] in ". " or len(name.encode()) > _LONGEST
    if odd or any(letter in '/\\:*?"<>|' or ord(letter) < 32 for letter in name):
        raise InvalidOptionError(f"{where}: name = {name!r} is not the name of a folder")
    return name


def _profile(table: Mapping[str, Any], where: str) -> Profile:
    try:
        sizes = {key: (int(value[0]), int(value[1])) for key, value in table.items()}
        usual = Profile()
        if set(sizes) - {"min", "opt", "max"}:
            raise ValueError("unknown key")
        return Profile(sizes.get("min", usual.minimum), sizes.get("opt", usual.opt), sizes.get("max", usual.maximum))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidOptionError(f"{where}: profile is {KEYS['profile']}") from error
