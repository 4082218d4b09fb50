"""What an exported file says about itself."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paragon_arch.errors import InvalidOptionError
from paragon_arch.model import FamilyModel
from paragon_arch.networks.base import SRNetwork

from ..packages import installed, version
from .verify import Verification

PREFIX = "paragonsr."
VERSIONED = ("torch", "onnx", "onnxslim", "onnxruntime")
"""Packages whose versions decide what an export contains."""


@dataclass(frozen=True)
class Credits:
    """Who made the model; empty where nobody said so."""

    author: str = ""
    license: str = ""


def date_of(path: Path) -> str:
    """The date that outputs carry, ISO 8601, UTC: SOURCE_DATE_EPOCH, else the last change of the checkpoint.

    Never the present, so that two runs give the same bytes.

    Raises:
        InvalidOptionError: SOURCE_DATE_EPOCH is no number.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given and not given.isdecimal():
        raise InvalidOptionError(f"SOURCE_DATE_EPOCH is {given!r}: give seconds since 1970")
    moment = int(given) if given else int(path.stat().st_mtime)
    return dt.datetime.fromtimestamp(moment, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str]:
    """Versions of what takes part, Python included."""
    return {"python": platform.python_version()} | {name: version(name) for name in VERSIONED if installed(name)}


def model_facts(model: FamilyModel, *, source_sha256: str, date: str, made_by: Credits) -> dict[str, str]:
    """The ``metadata_props`` that all graphs of a model share, beside those that `export_onnx` gives them."""
    report, network = model.report, model.model
    facts = {
        "architecture": report.generation,
        "layout": report.layout,
        "variant": report.variant or "custom",
        "scale": str(model.scale),
        "alpha": "none" if network.alpha is None else repr(float(network.alpha)),
        "value_range": "0..1",
        "colour_order": "RGB",
        "window": str(network.traits.window or 1),
        "tiling": tiling_advice(network),
        "source_sha256": source_sha256,
        "exporter": "torch.onnx (TorchScript)",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        "license": made_by.license or "not stated",
        "author": made_by.author or "not stated",
        "date": date,
    }
    return {PREFIX + name: value for name, value in facts.items()}


def tiling_advice(network: SRNetwork) -> str:
    """How pictures may be cut into tiles, for programs that know nothing of the architecture."""
    radius, traits = network.receptive_field(), network.traits
    if radius is not None:
        return f"overlap of {radius} input pixels on each side is exact"
    parts = ["values over the whole image decide: tiles approximate"] if traits.global_statistics else []
    if traits.window is not None:
        parts.append(f"start tiles at multiples of {traits.window} and let them overlap by {traits.window} or more")
    return "; ".join(parts) or "overlap of 64 input pixels on each side"


def parity_facts(verification: Verification) -> dict[str, str]:
    """The figures of a proof, for ``metadata_props``."""
    found = verification.to_dict()
    figures = {name: found[name] for name in ("max_abs", "psnr", "loss_db", "loss_ssim") if found[name] is not None}
    return {
        f"{PREFIX}parity": ", ".join(f"{name} {value:g}" for name, value in figures.items()),
        f"{PREFIX}parity_pictures": f"{verification.pictures}, sha256 {verification.pictures_sha256[:16]}",
    }


def stem_of(path: Path) -> str:
    """The name of a checkpoint that its artefacts start with."""
    return path.stem.removesuffix("_fused") or path.stem


def file_name(stem: str, *, opset: int, precision: str, video: bool = False) -> str:
    """Name of an ONNX file: ``<stem>_op<N>_<precision>.onnx``."""
    return f"{stem}{'_video' if video else ''}_op{opset}_{precision}.onnx"


def with_prefix(values: Mapping[str, str]) -> dict[str, str]:
    """Keys as they are in ``metadata_props``."""
    return {PREFIX + name: value for name, value in values.items()}
