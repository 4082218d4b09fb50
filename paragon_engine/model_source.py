"""Where a model comes from and how it is to run: what a command line says and a worker elsewhere needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paragon_arch

from .backends.model import PrecisionChoice, with_backend
from .devices import resolve_device
from .progress import log


@dataclass(frozen=True)
class ModelSource:
    """A model that has not been loaded yet."""

    path: Path
    """Checkpoint."""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of `paragon_arch.load`."""
    device: str = "auto"
    """See `devices.resolve_device`."""
    backend: str = "torch"
    """See `backends.model.with_backend`."""
    precision: PrecisionChoice = "auto"
    """See `backends.model.with_backend`."""

    def load(self) -> paragon_arch.FamilyModel:
        """The model, on the device that was asked for.

        Raises:
            CheckpointError, LayoutError, OptionError: as `paragon_arch.open_model` and `with_backend`.
        """
        device = resolve_device(self.device)
        model = paragon_arch.open_model(self.path, **self.overrides).to(device)
        kind = f"{model.report.layout} {model.report.variant or 'custom'}"
        log.info("%s: %s, scale %d, on %s", self.path.name, kind, model.scale, device)
        return with_backend(model, self.backend, precision=self.precision)
