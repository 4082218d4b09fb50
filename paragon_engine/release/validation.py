"""The validation report of a checkpoint: training patterns, fused or not, and whether the scale is what comes out."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from paragon_arch import tracked
from paragon_arch.api import network_of
from paragon_arch.model import FamilyModel
from paragon_arch.networks.base import SRNetwork

if TYPE_CHECKING:
    from paragon_arch import ParagonModelDescriptor

CHECKED_AT = 32
"""Side of the input that the scale is checked with."""
PATTERNS = {
    "reparameterised blocks": r"\.(dw_conv3x3|conv1x1)\.weight$",
    "LayerScale": r"(layer_?scale|\bls\d?|gamma)",
    "tracked kernels": r"\.tracked_kernel$",
    "kernel generators": r"\.kernel_generator\.predictor\.1\.weight$",
    "window attention": r"(relative_position_bias_table|\.qkv\.weight)$",
    "Magic resampler": r"(resample|sharpen).*\.weight$",
}
"""What a key shows, by name."""


@dataclass(frozen=True)
class Validation:
    """What was found."""

    patterns: dict[str, int]
    """Keys that show each pattern; patterns without any are left out."""
    state: str
    """"fused", "unfused" or "nothing to fuse"."""
    untracked: int
    """Dynamic kernels that were never tracked; fusing would freeze identity kernels."""
    scale: int
    output: tuple[int, int]
    """Height and width of what the model makes of `CHECKED_AT` pixels."""
    finite: bool
    """The output has neither NaN nor infinity."""

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words."""
        wanted, found = self.scale * CHECKED_AT, []
        if self.output != (wanted, wanted):
            found = [f"scale {self.scale} should give {wanted} x {wanted}, the model gives {self.output}"]
        if not self.finite:
            found.append("the model returns NaN or infinity")
        if self.untracked:
            found.append(f"{self.untracked} dynamic kernels were never tracked: run calibrate")
        return found

    @property
    def message(self) -> str:
        """The report in one line."""
        patterns = ", ".join(f"{count} {name}" for name, count in self.patterns.items()) or "no training patterns"
        side = f"{CHECKED_AT} x {CHECKED_AT} gives {self.output[0]} x {self.output[1]}"
        return f"{self.state}; {patterns}; {side}"

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self) | {"problems": self.problems, "message": self.message}


@torch.inference_mode()
def validate(model: ParagonModelDescriptor | FamilyModel | SRNetwork) -> Validation:
    """Look at a loaded model's tensors and run it once."""
    network = network_of(model)
    state = network.state_dict()
    counts = {name: sum(bool(re.search(pattern, key)) for key in state) for name, pattern in PATTERNS.items()}
    parameter = next(network.parameters())
    channels = network.hyperparameters.get("in_channels", 3)
    image = torch.rand(1, channels, CHECKED_AT, CHECKED_AT, generator=torch.Generator().manual_seed(0))
    out = network(image.to(parameter))
    return Validation(
        patterns={name: count for name, count in counts.items() if count},
        state="fused" if network.fused else "unfused" if network.fusible else "nothing to fuse",
        untracked=0 if network.fused else len(tracked.untracked(state)),
        scale=network.scale,
        output=(out.shape[2], out.shape[3]),
        finite=bool(torch.isfinite(out).all()),
    )
