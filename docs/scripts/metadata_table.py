"""The table of docs/upscaling.md that says what becomes of each kind of metadata: the data that writing goes by."""

from __future__ import annotations

from paragon_engine.pictures.carried import KINDS, Fate, Holding, Kind

from .layout_tables import table

TARGETS = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "BMP")
"""Formats that are written, as columns."""
NAMES = {"WEBP": "WebP", "HEIF": "HEIC", "JXL": "JPEG XL"}
"""How formats are called, where not as by Pillow."""


def carried() -> str:
    """One row for each kind of metadata and format that it is read from."""
    rows = [("metadata", "read from", *(f"to {_name(target)}" for target in TARGETS))]
    for kind in KINDS:
        for source in kind.sources:
            rows.append((kind.name, _name(source), *(_cell(kind, target) for target in TARGETS)))
    return table(rows)


def _name(name: str) -> str:
    return NAMES.get(name, name)


def _cell(kind: Kind, target: str) -> str:
    holding: Holding = kind.holding(target)
    if holding.fate is Fate.TRANSLATED:
        return f"translated: {holding.how}"
    if holding.fate is Fate.KEPT and holding.limit is not None:
        return f"kept, up to {holding.limit:,} bytes"
    return holding.fate.value
