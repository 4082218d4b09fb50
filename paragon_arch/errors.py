"""The one exception tree of the project.

    ParagonError                        everything below; catch this to catch us
    ├── CheckpointError                 a model file cannot be used
    │   ├── CheckpointNotFoundError     no such file, or it is a directory
    │   ├── UnsupportedFormatError      not a checkpoint format we read (ONNX, TorchScript, ...)
    │   ├── CorruptCheckpointError      truncated, bad header, not what its name says
    │   ├── UnsafeCheckpointError       unpickling it would need more than tensors
    │   ├── InvalidWeightsError         NaN or Inf in the weights
    │   └── NonFiniteError              the weights turn a picture into NaN or Inf
    ├── LayoutError                     the tensors do not form a model we can build
    │   ├── UnknownLayoutError          not a checkpoint of the family
    │   ├── UnsupportedLayoutError      recognised, and refused by name
    │   └── StateMismatchError          right layout, but missing, extra or misshapen tensors
    ├── OptionError                     a value the caller gave or must give
    │   ├── InvalidOptionError          a given value is out of range or contradicts the file
    │   └── AmbiguousValueError         the file does not say, measuring was not sure: give it
    ├── FusionError                     fusing refused, or its self-check failed
    ├── ImageError                      a picture cannot be read, or is over a limit
    │   └── AnimationError              it has several frames: a matter for the video command
    ├── OutputError                     a result cannot be written
    │   ├── OutputExistsError           it would overwrite a file
    │   └── QualityError                it was made, but misses its quality target
    └── CancelledError                  the user stopped the work

Every message names the file, key or value and says what to do about it. A text of a file in it may be of any length:
messages of more than `MAX_MESSAGE` characters lose their middle.
"""

from __future__ import annotations

MAX_MESSAGE = 4000


class ParagonError(Exception):
    """Base class of every error that this project raises on purpose."""

    def __init__(self, message: str = "") -> None:
        half = MAX_MESSAGE // 2
        super().__init__(message if len(message) <= MAX_MESSAGE else f"{message[:half]} ... {message[-half:]}")


class CheckpointError(ParagonError):
    """A model file cannot be used."""


class CheckpointNotFoundError(CheckpointError):
    """The path does not exist or is a directory."""


class UnsupportedFormatError(CheckpointError):
    """The file is not in a checkpoint format that we read (ONNX, TorchScript, an image, ...)."""


class CorruptCheckpointError(CheckpointError):
    """The file is truncated, damaged, empty, or not what its extension says."""


class UnsafeCheckpointError(CheckpointError):
    """Unpickling the file would need a global that is not on the list of harmless ones."""


class InvalidWeightsError(CheckpointError):
    """A weight is NaN or infinite."""


class NonFiniteError(CheckpointError):
    """A model gives NaN or infinite values in its last precision, too; nothing was written."""


class LayoutError(ParagonError):
    """The tensors do not form a model that we can build."""


class UnknownLayoutError(LayoutError):
    """The keys are those of no layout of the family."""


class UnsupportedLayoutError(LayoutError):
    """The layout was recognised but is not an upscaler we can run; the message names it."""


class StateMismatchError(LayoutError):
    """The layout was recognised, but tensors are missing, unexpected or misshapen."""


class OptionError(ParagonError):
    """A value that the caller gave, or must give."""


class InvalidOptionError(OptionError):
    """A given value is out of range, or the file proves another one."""


class AmbiguousValueError(OptionError):
    """The file does not store a value and measuring it was inconclusive.

    Attributes:
        option: name of the keyword argument that settles it, e.g. ``"scale"``.
        candidates: likely values, the likeliest first.
    """

    def __init__(self, message: str, *, option: str, candidates: tuple[float, ...] = ()) -> None:
        super().__init__(message)
        self.option = option
        self.candidates = candidates


class FusionError(ParagonError):
    """Fusing was refused, or the fused model failed its own check."""


class ImageError(ParagonError):
    """A picture cannot be read, or is over a limit."""


class AnimationError(ImageError):
    """A picture has several frames."""


class OutputError(ParagonError):
    """A result cannot be written."""


class OutputExistsError(OutputError):
    """The result would overwrite an existing file and overwriting was not asked for."""


class QualityError(OutputError):
    """A result was made but misses its quality target, so it was not written under its name."""


class CancelledError(ParagonError):
    """The user stopped the work; nothing half-made was left behind."""


class ParagonWarning(UserWarning):
    """A value was guessed or a known fault of a checkpoint was repaired; the message says which."""
