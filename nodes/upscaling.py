"""What the nodes that upscale have in common: their widgets, and what these mean for the engine."""

from __future__ import annotations

from torch import Tensor

from paragon_engine.backends.graph_file import GraphNetwork
from paragon_engine.tiling import AUTO_TILE, TileSize, Tiling, can_tile_exactly, memory_needed
from paragon_engine.upscale import UpscaleSettings

from . import host, settings
from .working import Choice, Model, Worker, precisions

TILES = ("auto", "untiled", "128", "192", "256", "384", "512", "768", "1024", "1536", "2048")


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


def model_input() -> host.Widgets:
    """Of the model, which may be of any family."""
    return {
        "upscale_model": (
            "UPSCALE_MODEL",
            {"tooltip": "From Load ParagonSR Model, or from any other loader of upscale models."},
        )
    }


def speed_widgets() -> host.Widgets:
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
