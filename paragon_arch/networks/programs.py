"""The program of any network of the family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import nn

from .stages import Apply, Program
from .stages_convolutional import v1_program, v2_magic_program
from .stages_dualpath import dualpath_program
from .stages_hybrid import hybrid_program
from .stages_release import release_program
from .stages_static import v2_static_program
from .stages_ultimate import ultimate_program
from .v1 import ParagonSR
from .v2_dualpath import ParagonSR2DualPath
from .v2_hybrid import ParagonSR2Hybrid
from .v2_magic import ParagonSR2Magic
from .v2_release import ParagonSR2Release
from .v2_static import ParagonSR2Static
from .v2_ultimate import ParagonSR2Ultimate

BUILDERS: dict[type[nn.Module], Callable[[Any, int, int], Program | None]] = {
    ParagonSR: v1_program,
    ParagonSR2Magic: v2_magic_program,
    ParagonSR2Static: v2_static_program,
    ParagonSR2Hybrid: hybrid_program,
    ParagonSR2DualPath: dualpath_program,
    ParagonSR2Release: release_program,
    ParagonSR2Ultimate: ultimate_program,
}


def stages_of(network: nn.Module, height: int, width: int) -> Program | None:
    """Stages of a network for images of one size; None if it is not known in stages."""
    build = BUILDERS.get(type(network))
    return None if build is None or network.training else build(network, height, width)


def convolutional(network: nn.Module, height: int, width: int, run: Apply | None = None) -> Program | None:
    """A network with a limited receptive field as one stage; None if it has none, or does not say.

    The network may be any module with the attribute ``scale`` and the method ``receptive_field``, e.g. a rewritten
    form of one of ours. ``run`` is what computes, if it is not the network itself.
    """
    measure: Any = getattr(network, "receptive_field", None)
    radius = cast("int | None", measure()) if callable(measure) else None
    if radius is None:
        return None
    program = Program(height, width)
    scale = int(getattr(network, "scale"))  # noqa: B009 - Any
    program.map(network if run is None else run, program.image, halo=radius, ratio=scale)
    return program
