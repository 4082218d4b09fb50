"""A model that has not been loaded yet: what a command line says and a worker elsewhere needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paragon_arch.networks.base import SRNetwork

    from .backends.precision import PrecisionChoice
    from .restoring import Restore, Restorer
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
    restore: Restore | None = None
    """How much to restore, by blending the model with its twin; None: the file as it is."""

    def load(self) -> Upscaler | Restorer[Upscaler]:
        """The model, ready to run; with ``restore="auto"`` and a twin, the blends of both.

        Raises:
            CheckpointError, LayoutError, OptionError: as `Upscaler`.
            InvalidOptionError: ``restore`` is a number, and the model has no twin.
        """
        from .restoring import Restorer, pair_of, twins_of

        if self.restore is None or (self.restore == "auto" and twins_of(self.path) is None):
            return self._ready(self.path, **self.overrides)
        restorer = Restorer(pair_of(self.path), lambda model: self._ready(model.model), self.overrides)
        return restorer if self.restore == "auto" else restorer.at(self.restore)

    def _ready(self, model: Path | SRNetwork, **overrides: Any) -> Upscaler:
        from .upscaler import Upscaler

        return Upscaler(model, device=self.device, backend=self.backend, precision=self.precision, **overrides)
