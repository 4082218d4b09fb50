"""The models that ship with the project.

``catalog.json`` lies beside them::

    {"default": "<file>",
     "models": {"<file>": {"title": ..., "scale": ..., "layout": ..., "variant": ...,
                           "sha256": ..., "license": ..., "card": ...,
                           "restores": true, "twin": "<file>"}}}

Twins are two models of one layout and shape, of which one restores: their weights can be interpolated. Each names the
other; a model without one leaves ``twin`` out, and one that does not restore ``restores``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragon_arch.errors import CheckpointNotFoundError, CorruptCheckpointError, InvalidOptionError
from paragon_arch.files.records import read_json

_HERE = Path(__file__).resolve().parent
_CATALOG = "catalog.json"


@dataclass(frozen=True)
class ShippedModel:
    """A model of the catalogue."""

    path: Path
    """The file."""
    title: str
    scale: int
    layout: str
    variant: str | None
    sha256: str
    license: str
    """SPDX identifier."""
    card: str
    """File name of the model card, beside the model; "" if there is none."""
    default: bool
    """Used where no model is named."""
    restores: bool
    """Trained to remove noise and compression, not only to enlarge."""
    twin: str
    """File name of the model of the same layout and shape that restores where this one does not, or the other way
    round; "" if there is none."""

    def verified_path(self) -> Path:
        """The file, after comparing its checksum.

        Raises:
            CheckpointNotFoundError: it is missing.
            CorruptCheckpointError: it is not the file that was shipped.
        """
        if not self.path.is_file():
            raise CheckpointNotFoundError(f"{self.path}: this model ships with the project, but is not there")
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        if digest != self.sha256:
            raise CorruptCheckpointError(f"{self.path}: is not the shipped file (sha256 {digest[:12]}...); reinstall")
        return self.path


def models_folder() -> Path | None:
    """Where the shipped models are: inside the installed package, or in the checkout; None without any."""
    folders = (_HERE / "models", _HERE.parent / "models")
    return next((folder for folder in folders if (folder / _CATALOG).is_file()), None)


def shipped_models(folder: Path | None = None) -> list[ShippedModel]:
    """All models of the catalogue, the default first.

    Args:
        folder: None for `models_folder`.

    Raises:
        CorruptCheckpointError: the catalogue cannot be understood.
    """
    folder = models_folder() if folder is None else folder
    if folder is None:
        return []
    file = folder / _CATALOG
    try:
        data = read_json(file)
        models = [_entry(folder, name, record, data["default"]) for name, record in data["models"].items()]
    except (InvalidOptionError, KeyError, TypeError, AttributeError) as error:
        raise CorruptCheckpointError(f"{file}: the catalogue of models is damaged: {error!r}") from error
    return sorted(models, key=lambda model: (not model.default, model.path.name))


UNMODIFIED = "shipped, unmodified"
"""What `origin` says of a shipped file that has its checksum."""
CHANGED = "shipped, but CHANGED"
"""What it says of one that has another."""


def origin(path: Path | None) -> str:
    """Whether a file is a shipped one, by its checksum: `UNMODIFIED`, `CHANGED`, or ""."""
    try:
        for model in shipped_models() if path is not None else ():
            assert path is not None
            same = path.resolve() == model.path.resolve()
            if same or path.stat().st_size == model.path.stat().st_size:
                if hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256:
                    return UNMODIFIED
                if same:
                    return CHANGED
    except (OSError, CorruptCheckpointError):
        pass
    return ""


def _entry(folder: Path, name: str, record: dict[str, Any], default: str) -> ShippedModel:
    return ShippedModel(
        path=folder / name,
        title=record["title"],
        scale=record["scale"],
        layout=record["layout"],
        variant=record.get("variant"),
        sha256=record["sha256"],
        license=record["license"],
        card=record.get("card", ""),
        default=name == default,
        restores=record.get("restores", False),
        twin=record.get("twin", ""),
    )


def find_model(name: str | None = None, *, folder: Path | None = None) -> Path:
    """The file of a model: a path, the name of a shipped model (with or without extension), or None for the default.

    Raises:
        CheckpointNotFoundError: no such file or model; the message lists those that ship.
        CorruptCheckpointError: a shipped file or the catalogue is damaged.
    """
    if name is not None and Path(name).exists():
        return Path(name)
    models = shipped_models(folder)
    for model in models:
        if model.default if name is None else name in (model.path.name, model.path.stem):
            return model.verified_path()
    if name is None:
        raise CheckpointNotFoundError("no model ships with this copy: name a checkpoint (--model FILE)")
    known = ", ".join(model.path.stem for model in models) or "none"
    raise CheckpointNotFoundError(f"{name}: no such file, and no model of this name ships (those that do: {known})")
