"""What a quantisation measured and decided."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from paragon_arch.errors import QualityError

WIN = 1.05
"""Speed ratio from which on we call it faster: less is within the noise of a busy machine."""


@dataclass(frozen=True)
class LayerLoss:
    """One layer that could be quantised."""

    name: str
    """Of its node in the graph."""
    precision: str
    """What it got: "int8", "fp8", "int16", "fp32"."""
    loss_db: float
    """Mean loss of PSNR against the ground truth if this layer alone is quantised, on the search's pictures."""
    work: float
    """Its share of the graph's multiply-adds."""


@dataclass(frozen=True)
class Speed:
    """One runtime, both graphs, measured in turns."""

    backend: str
    size: int
    """Side of the input."""
    fp32: float
    """Median seconds of the FP32 graph."""
    quantized: float
    """Median seconds of the quantised graph."""

    @property
    def ratio(self) -> float:
        """FP32's time over the quantised graph's: above 1 it is faster."""
        return self.fp32 / self.quantized


@dataclass(frozen=True)
class PictureLoss:
    """One picture that was not calibrated on."""

    name: str
    psnr: float
    """Of the FP32 graph against the ground truth, in dB."""
    loss_db: float
    """What the quantised graph loses."""
    ssim_loss: float


@dataclass
class QuantizationReport:
    """The result of `quantize`."""

    kind: str
    passed: bool
    """Both losses are within their targets, and at least one layer that matters is quantised."""
    reason: str
    """Why it failed; "" where it passed."""
    written: Path | None
    """The graph's file; None where it failed."""
    loss_db: float
    """Mean over `pictures`."""
    ssim_loss: float
    quantized_work: float
    """Share of the graph's multiply-adds that is computed in the low precision."""
    method: str
    """Of calibration, or "checkpoint" where quantisation-aware training stored the ranges."""
    calibration: dict[str, Any]
    """``sha256`` of the set, ``pictures``, ``crops``, and ``cached``: whether the ranges came from the cache."""
    graph_sha256: str
    """Of the FP32 graph."""
    machine: dict[str, str]
    layers: list[LayerLoss] = field(default_factory=list[LayerLoss])
    pictures: list[PictureLoss] = field(default_factory=list[PictureLoss])
    speeds: list[Speed] = field(default_factory=list[Speed])
    unmeasured: dict[str, str] = field(default_factory=dict[str, str])
    """Runtimes that could not run a graph, with the reason."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def speed_ratio(self) -> float | None:
        """What a user gains at best here: fastest FP32 runtime over fastest quantised one; None if not measured."""
        if not self.speeds:
            return None
        return min(speed.fp32 for speed in self.speeds) / min(speed.quantized for speed in self.speeds)

    @property
    def pays(self) -> bool | None:
        """Whether the quantised graph is faster on this machine than FP32 is on any runtime."""
        return None if self.speed_ratio is None else self.speed_ratio >= WIN

    @property
    def verdict(self) -> str:
        """One sentence on whether the quantised graph is worth using, and where."""
        if not self.passed:
            return f"not written: {self.reason}"
        return {None: _UNMEASURED, True: _PAYS, False: _PAYS_NOT}[self.pays].format(
            kind=self.kind.upper(), ratio=self.speed_ratio
        )

    def raise_if_failed(self) -> None:
        """Raise `QualityError` unless it passed."""
        if not self.passed:
            raise QualityError(f"the {self.kind} graph is not written: {self.reason}")

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON types."""
        result = asdict(self) | {"written": None if self.written is None else self.written.name}
        result["speeds"] = [asdict(speed) | {"ratio": speed.ratio} for speed in self.speeds]
        return result | {"speed_ratio": self.speed_ratio, "pays": self.pays, "verdict": self.verdict}


_WHERE = (
    "INT8 arithmetic pays on CPUs with VNNI or AMX (Intel since Ice Lake, AMD since Zen 4), on NVIDIA GPUs through "
    "TensorRT, and on NPUs; FP8 on NVIDIA GPUs since Ada"
)
_UNMEASURED = "speed was not measured; " + _WHERE
_PAYS = "{kind} pays on this machine: {ratio:.2f} times as fast as FP32 on its fastest runtime"
_PAYS_NOT = "{kind} does not pay on this machine ({ratio:.2f} times FP32's speed), use FP32 here; " + _WHERE
