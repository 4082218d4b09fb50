"""The pack's page in ComfyUI's settings (web/js/settings.js), as the nodes see it."""

from __future__ import annotations

from paragon_engine.backends.precision import PrecisionChoice as Choice

from . import host

PRECISION = "ParagonSR.Precision"
TILE_MEMORY = "ParagonSR.TileMemory"
GIB = 2**30
CHOICES: tuple[Choice, ...] = ("auto", "fp32", "fp16", "bf16")


def precision(chosen: Choice) -> Choice:
    """What a node's "auto" stands for; any other choice stays."""
    if chosen != "auto":
        return chosen
    value = host.setting(PRECISION)
    return value if value in CHOICES else "auto"


def tile_memory() -> int | None:
    """Bytes that tiles of automatic size may plan with; None for all that is free."""
    value = host.setting(TILE_MEMORY)
    return round(value * GIB) if isinstance(value, (int, float)) and value > 0 else None
