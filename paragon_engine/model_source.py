"""A model that has not been loaded yet: what a command line says and a worker elsewhere needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backends.precision import PrecisionChoice
    from .upscaler import Upscaler


@dataclass(frozen=True)
class ModelSource:
    """The arguments of an `Upscaler`, which can travel to another process."""

    path: Path
    """Checkpoint."""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of `paragon_arch.load`."""
    device: str = "auto"
    """See `devices.resolve_device`."""
    backend: str = "torch"
    """See `Upscaler`."""
    precision: PrecisionChoice = "auto"
    """See `Upscaler`."""

    def load(self) -> Upscaler:
        """The model, ready to run.

        Raises:
            CheckpointError, LayoutError, OptionError: as `Upscaler`.
        """
        from .upscaler import Upscaler

        return Upscaler(self.path, device=self.device, backend=self.backend, precision=self.precision, **self.overrides)
