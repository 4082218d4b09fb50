"""What the nodes that upscale have in common: their widgets, and what these mean for the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from paragon_arch.errors import InvalidOptionError
from paragon_engine.backends.graph_file import GraphNetwork
from paragon_engine.tiling import AUTO_TILE, TileSize, Tiling, can_tile_exactly, memory_needed
from paragon_engine.upscale import UpscaleSettings

from . import host, settings
from .working import Choice, Model, Worker, precisions

Resize = Literal["model scale", "factor", "pixels"]
TILES = ("auto", "untiled", "128", "192", "256", "384", "512", "768", "1024", "1536", "2048")
LARGEST = 32768


@dataclass(frozen=True)
class Size:
    """How large the output is to be."""

    resize: Resize
    factor: float
    width: int
    height: int

    def applied(self, plain: UpscaleSettings, size: tuple[int, int]) -> UpscaleSettings:
        """The engine's settings with the output's size, for an input of (width, height).

        Raises:
            InvalidOptionError: "pixels" without width and height.
        """
        if self.resize == "factor":
            return replace(plain, outscale=self.factor)
        if self.resize == "pixels":
            return replace(plain, size=self._pixels(size))
        return plain

    def _pixels(self, size: tuple[int, int]) -> tuple[int, int]:
        if not (self.width or self.height):
            raise InvalidOptionError("resize is 'pixels', but width and height are both 0: give one of them, or both")
        width = self.width or max(1, round(size[0] * self.height / size[1]))
        return width, self.height or max(1, round(size[1] * self.width / size[0]))


class FollowsPrecisionSetting:
    """A node with a widget `precision`."""

    @classmethod
    def IS_CHANGED(cls, precision: Choice | None = None, **_: object) -> str:  # noqa: N802  (ComfyUI's name)
        """What "auto" stands for may have changed in the settings."""
        return settings.precision(precision or "auto")


def tiles(model: Model, image: Tensor, tile: str) -> UpscaleSettings:
    """The engine's settings for a widget's tile size: exact tiles where the model is known well enough for them."""
    side: TileSize = "auto" if tile == "auto" else 0 if tile == "untiled" else int(tile)
    tiling: Tiling = "exact" if can_tile_exactly(model, _planes(image)) else "overlap"
    if tile == "auto" and isinstance(model.model, GraphNetwork):
        side = AUTO_TILE  # a runtime does not tell how much memory it needs, and cannot be cancelled inside a tile
    return UpscaleSettings(tile=side, tiling=tiling, memory_limit=settings.tile_memory())


def make_worker(model: Model, image: Tensor, tile: TileSize, precision: Choice) -> Worker:
    """A copy of the model on ComfyUI's device, where room is made for it.

    Raises:
        InvalidOptionError: the model does not hold the precision.
    """
    device = host.device()
    ladder = precisions(model, settings.precision(precision), device)
    if device.type != "cpu":
        host.make_room(memory_needed(model, _planes(image), tile))
    return Worker(model, device, ladder)


def _planes(image: Tensor) -> Tensor:
    """The colours of the first picture, (1, C, H, W)."""
    return image[:1, ..., :3].movedim(-1, 1)


def model_input() -> dict[str, tuple[Any, ...]]:
    """Of the model, which may be of any family."""
    return {
        "upscale_model": (
            "UPSCALE_MODEL",
            {"tooltip": "From Load ParagonSR Model, or from any other loader of upscale models."},
        )
    }


def size_widgets() -> dict[str, tuple[Any, ...]]:
    """Of the output's size, which `Size` takes."""
    pixels = {"default": 0, "min": 0, "max": LARGEST}
    return {
        "resize": (
            ["model scale", "factor", "pixels"],
            {
                "default": "model scale",
                "tooltip": "Size of the output. model scale (default): what the model was made for, and the sharpest. "
                "factor and pixels: the model's result is resized to the wish by a Lanczos filter.",
            },
        ),
        "factor": (
            "FLOAT",
            {
                "default": 2.0,
                "min": 0.1,
                "max": 16.0,
                "step": 0.1,
                "tooltip": "Output size relative to the input (default 2); only used with resize: factor. Beyond the "
                "model's scale nothing gets sharper, only larger.",
            },
        ),
        "width": (
            "INT",
            {
                **pixels,
                "tooltip": "Output width; only used with resize: pixels. 0 (default): from the height, in proportion.",
            },
        ),
        "height": (
            "INT",
            {
                **pixels,
                "tooltip": "Output height; only used with resize: pixels. 0 (default): from the width, in proportion. "
                "With both given the picture may be stretched.",
            },
        ),
    }


def speed_widgets() -> dict[str, tuple[Any, ...]]:
    """Tile and precision, which `tiles` and `make_worker` take."""
    return {
        "tile": (
            list(TILES),
            {
                "default": "auto",
                "tooltip": "Side of a tile in input pixels. auto (default): the whole picture if it fits into memory, "
                "else tiles. Smaller tiles need less memory and more time. Where memory runs out, tiles shrink.",
            },
        ),
        "precision": (
            ["auto", "fp32", "fp16", "bf16"],
            {
                "default": "auto",
                "tooltip": "auto (default): half precision on a CUDA card if the model holds it, fp32 elsewhere. Half "
                "is faster there and needs half the memory. What overflows is made again more precisely.",
            },
        ),
    }
