"""What is known about a checkpoint or a loaded model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .resolve import Resolved


@dataclass(frozen=True)
class Inspection:
    """The report of `paragon_arch.inspect`, also attached to every descriptor as ``report``."""

    layout: str
    """Layout id, e.g. "v2-release"."""
    generation: str
    """"ParagonSR" or "ParagonSR2"."""
    variant: str | None
    """Official size ("realtime", "nano", ...); None for a custom one."""
    values: Mapping[str, Resolved]
    """scale, alpha, window_size, ... as far as the layout has them, each with the source that decided."""
    hyperparameters: Mapping[str, Any]
    """Constructor arguments of the network."""
    fused: bool
    fusible: bool
    """The layout has a fuse step that changes its keys."""
    parameters: int
    """Trainable and frozen parameters, without buffers."""
    dtype: str
    """Data type of the stored weights, e.g. "float32"; "mixed" lists several."""
    receptive_field: int | None
    """Radius in input pixels; None where the whole image or a window grid decides."""
    problems: tuple[str, ...] = ()
    """What the user should know: guesses, repairs, contradictions."""
    path: Path | None = None
    format: str = ""
    """Container: "safetensors", "pth" or "state dict"."""
    wrapper: str = ""
    """Key under which the weights lay, e.g. "params_ema"; empty if bare."""
    blend: str = ""
    """JSON of what the weights were blended from (`paragon_arch.blend`): first, second, weight; empty otherwise."""

    validation: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What running the model once showed, where that was asked for."""

    @property
    def ambiguous(self) -> dict[str, tuple[float, ...]]:
        """Options whose value is a guess, with the likely ones; loading asks for them."""
        return {name: item.candidates for name, item in self.values.items() if item.candidates}

    @property
    def fused_state(self) -> str:
        """Whether it is fused, as "fused", "not fused" or "nothing to fuse"."""
        if self.fused:
            return "fused"
        return "not fused" if self.fusible else "nothing to fuse"

    @property
    def name(self) -> str:
        """File name without extension, else the layout."""
        return self.path.stem if self.path else self.layout

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return (
            {
                "file": str(self.path) if self.path else None,
                "name": self.name,
                "layout": self.layout,
                "generation": self.generation,
                "variant": self.variant,
                "values": {
                    key: {"value": item.value, "source": item.source, "note": item.note}
                    for key, item in self.values.items()
                },
                "ambiguous": {key: list(candidates) for key, candidates in self.ambiguous.items()},
                "fused": self.fused,
                "fusible": self.fusible,
                "parameters": self.parameters,
                "dtype": self.dtype,
                "receptive_field": self.receptive_field,
                "hyperparameters": dict(self.hyperparameters),
                "problems": list(self.problems),
                "format": self.format,
                "wrapper": self.wrapper,
            }
            | ({"validation": dict(self.validation)} if self.validation else {})
            | self._blend()
        )

    def _blend(self) -> dict[str, Any]:
        return {"blend": self.blend} if self.blend else {}
