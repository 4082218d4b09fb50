"""What a user can choose about quantising."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from paragon_arch.errors import InvalidOptionError

Kind = Literal["int8", "fp8"]
Method = Literal["minmax", "entropy", "percentile"]
Fallback = Literal["fp32", "int16"]

MIN_CROP = 32


@dataclass(frozen=True)
class QuantizationOptions:
    """How to quantise, what to measure, and what is good enough."""

    kind: Kind = "int8"
    """"int8": unsigned 8-bit activations, signed per-channel weights. "fp8": E4M3 activations and weights."""
    method: Method = "minmax"
    """How ranges of activations follow from what was observed: all of it, ONNX Runtime's entropy search, or all but
    the outermost ``100 - percentile`` percent. FP8 scales by the standard deviation and has no method."""
    percentile: float = 99.99
    """Share of the values that the method "percentile" keeps inside the range, 50 to 100."""
    samples: int = 32
    """Crops to calibrate on, spread over the pictures."""
    crop: int = 96
    """Side of the crops in input pixels; smaller pictures are used whole."""
    holdout: Path | None = None
    """Folder of pictures to measure the loss on; None keeps every fourth of the calibration's pictures for it."""
    pictures: int = 8
    """Pictures that the final loss is measured on, at most."""
    side: int = 128
    """Side of the measured crops, in input pixels."""
    target_db: float = 0.25
    """Largest mean loss of PSNR (luma, against the ground truth) in dB."""
    target_ssim: float = 0.005
    """Largest mean loss of SSIM."""
    fallback: Fallback = "fp32"
    """What layers get that lose too much: FP32, or 16-bit activations and 8-bit weights (runtimes for NPUs; CPUs
    emulate them)."""
    keep: tuple[str, ...] = ()
    """Parts of names: layers that contain one are never quantised."""
    outputs: bool = False
    """Also quantise what layers put out, for runtimes that compute in integers throughout; costs accuracy."""
    reduce_range: bool = True
    """7-bit weights: sums of two products of 8-bit values saturate on x86 without VNNI."""
    benchmark: bool = True
    """Measure the speed."""
    size: int = 256
    """Side of the input whose speed is measured."""
    runs: int = 9
    """Runs of every graph on every runtime, in turns."""
    cache: Path | None = None
    """Folder that remembers calibrations; None takes the user's cache folder."""
    overwrite: bool = False
    """Replace an existing output."""

    def __post_init__(self) -> None:
        for name, choices in (
            ("kind", ("int8", "fp8")),
            ("method", ("minmax", "entropy", "percentile")),
            ("fallback", ("fp32", "int16")),
        ):
            if getattr(self, name) not in choices:
                raise InvalidOptionError(f"{name} = {getattr(self, name)!r}: choose {' or '.join(choices)}")
        if not 50 <= self.percentile <= 100:
            raise InvalidOptionError(f"percentile = {self.percentile}: give 50 to 100")
        if min(self.samples, self.pictures, self.runs) < 1 or min(self.crop, self.side, self.size) < MIN_CROP:
            raise InvalidOptionError(f"samples, pictures and runs must be 1 or more, crop, side and size {MIN_CROP}")
        if not (self.target_db > 0 and self.target_ssim > 0):
            raise InvalidOptionError("target_db and target_ssim must be above 0")

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON types, without places of files."""
        kept = {key: value for key, value in asdict(self).items() if key not in ("holdout", "cache", "overwrite")}
        return {**kept, "keep": list(self.keep)}
