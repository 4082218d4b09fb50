"""The ParagonSR family of super-resolution networks, and the one way to open their checkpoints.

    import paragon_arch
    paragon_arch.register()                               # spandrel now knows the family
    model = paragon_arch.load("2x_model.safetensors")     # a spandrel ImageModelDescriptor
    fused = paragon_arch.fuse(model)

The architectures are by Philip Hofmann. Importing this package is cheap: torch is loaded on first use, and spandrel
where a descriptor is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import fuse, inspect, load, open_model, save
    from .blending import blend
    from .errors import ParagonError, ParagonWarning
    from .inspection import Inspection
    from .model import FamilyModel
    from .resolve import Resolved
    from .spandrel_support import ParagonModelDescriptor, register

_HOMES = {
    "blend": "blending",
    "load": "api",
    "open_model": "api",
    "fuse": "api",
    "inspect": "api",
    "save": "api",
    "register": "spandrel_support",
    "ParagonModelDescriptor": "spandrel_support",
    "FamilyModel": "model",
    "Inspection": "inspection",
    "Resolved": "resolve",
    "ParagonError": "errors",
    "ParagonWarning": "errors",
}

__all__ = [
    "FamilyModel",
    "Inspection",
    "ParagonError",
    "ParagonModelDescriptor",
    "ParagonWarning",
    "Resolved",
    "__version__",
    "blend",
    "fuse",
    "inspect",
    "load",
    "open_model",
    "register",
    "save",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value
