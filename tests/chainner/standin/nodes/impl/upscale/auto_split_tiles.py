"""The dropdown of tile sizes."""

from __future__ import annotations

from typing import NewType

TileSize = NewType("TileSize", int)
ESTIMATE = TileSize(0)
NO_TILING = TileSize(-1)
MAX_TILE_SIZE = TileSize(-2)
CUSTOM = TileSize(-3)
