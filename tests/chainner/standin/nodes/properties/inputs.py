"""Inputs, with chaiNNer's parameters."""

from __future__ import annotations

from enum import Enum

from api import Item

from nodes.impl.upscale.auto_split_tiles import ESTIMATE
from nodes.impl.upscale.basic_upscale import PaddingType


def PthFileInput(primary_input: bool = False) -> Item:
    return Item("Model", "File", {"primary": primary_input})


def SrModelInput(label: str = "Model", input_type: str = "PyTorchModel") -> Item:
    return Item(label, input_type, {})


def ImageInput(label: str = "Image") -> Item:
    return Item(label, "Image", {})


def BoolInput(label: str, *, default: bool = True) -> Item:
    return Item(label, "bool", {"default": default})


def EnumInput(enum: type[Enum], label: str, *, default: Enum, option_labels: dict[Enum, str]) -> Item:
    assert set(option_labels) == set(enum)
    return Item(label, enum.__name__, {"default": default})


def DirectoryInput(label: str = "Directory", *, must_exist: bool = True) -> Item:
    return Item(label, "Directory", {"exists": must_exist})


def RelativePathInput(label: str) -> Item:
    return Item(label, "string", {})


def NumberInput(
    label: str,
    *,
    precision: int = 0,
    step: float | None = None,
    default: float = 0,
    min: float | None = 0,
    max: float | None = None,
    unit: str | None = None,
    label_style: str | None = None,
    has_handle: bool = True,
) -> Item:
    assert min is None or min <= default
    assert max is None or default <= max
    return Item(label, "number", {"default": default})


def SliderInput(label: str, *, default: float = 50, min: float = 0, max: float = 100, unit: str | None = None) -> Item:
    assert min <= default <= max
    return Item(label, "number", {"default": default})


def TileSizeDropdown(label: str = "Tile Size") -> Item:
    return Item(label, "TileSize", {"default": ESTIMATE})


def PaddingTypeInput() -> Item:
    return Item("Padding", "PaddingType", {"default": PaddingType.NONE})
