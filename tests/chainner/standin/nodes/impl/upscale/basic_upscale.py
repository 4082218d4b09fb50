"""What is beyond the edges of an image."""

from __future__ import annotations

from enum import Enum


class PaddingType(Enum):
    """As in chaiNNer's dropdown."""

    NONE = 0
    REFLECT_MIRROR = 1
    WRAP = 2
    REPLICATE = 3
