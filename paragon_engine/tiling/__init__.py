"""Running a model over a picture of any size: at once, in tiles that give the same result, or in overlapping tiles."""

from .overlap import AUTO_TILE, TileSize
from .plan import Tiling, make_plan, memory_needed
from .run import upscale_tensor

__all__ = ["AUTO_TILE", "TileSize", "Tiling", "make_plan", "memory_needed", "upscale_tensor"]
