"""What the nodes that upscale have in common: their widgets, and what these mean for the engine."""

from __future__ import annotations

from paragon_engine.tiling import TileSize
from paragon_engine.upscale import UpscaleSettings

from . import host, settings
from .working import Choice

TILES = ("auto", "untiled", "128", "192", "256", "384", "512", "768", "1024", "1536", "2048")


class FollowsPrecisionSetting:
    """A node with a widget `precision`."""

    @classmethod
    def IS_CHANGED(cls, precision: Choice | None = None, **_: object) -> str:  # noqa: N802  (ComfyUI's name)
        """What "auto" stands for may have changed in the settings."""
        return settings.precision(precision or "auto")


def tiles(tile: str) -> UpscaleSettings:
    """The engine's settings for a widget's tile size."""
    side: TileSize = "auto" if tile == "auto" else 0 if tile == "untiled" else int(tile)
    return UpscaleSettings(tile=side, memory_limit=settings.tile_memory())


def model_input() -> host.Widgets:
    """Of the model, which may be of any family."""
    return {
        "upscale_model": (
            "UPSCALE_MODEL",
            {"tooltip": "From Load ParagonSR Model, or from any other loader of upscale models."},
        )
    }


def speed_widgets() -> host.Widgets:
    """Tile and precision, which `tiles` and `working.ready` take."""
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
