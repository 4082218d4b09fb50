"""What is found out about a computer, without any judgement. Tests make their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Card:
    """A graphics card, as the driver's own program lists it."""

    name: str
    driver: str
    """Version of the driver."""


@dataclass(frozen=True)
class Device:
    """Something that PyTorch can compute on."""

    name: str
    """As in ``--device``: "cpu", "cuda:0", ..."""
    title: str
    """What the maker calls it."""
    free: int | None = None
    """Bytes that a run would plan with; None where they cannot be asked for."""
    capability: tuple[int, int] | None = None
    """CUDA's compute capability."""
    supported: bool = True
    """This PyTorch has kernels for it."""


@dataclass(frozen=True)
class Backend:
    """A backend, as ``benchmark --list`` shows it."""

    name: str
    usable: bool
    detail: str
    """Its version, else what is missing and the cure."""
    devices: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """A ComfyUI or chaiNNer on this computer."""

    kind: Literal["ComfyUI", "chaiNNer"]
    folder: str
    ours: str | None
    """What of ours is in it; None if nothing is."""
    cure: str = ""
    """How to put it there."""


@dataclass(frozen=True)
class Hook:
    """The start-up file that makes spandrel know the family in this Python."""

    installed: bool
    """We are installed here with pip."""
    active: bool
    """It has run."""
    reads_start_up_files: bool = True
    """This Python runs such files at all: an embedded one may not."""


@dataclass(frozen=True)
class Trial:
    """The included model on one device, in one precision, by one backend."""

    device: str
    backend: str
    precision: str
    difference: float | None = None
    """Largest difference from the expected output, of values in 0..1; None where it did not run."""
    limit: float = 0.0
    """What the precision allows."""
    seconds: float = 0.0
    """Preparing included."""
    error: str = ""
    """Why it did not run."""
    skipped: bool = False
    """There was no time left for it."""

    @property
    def passed(self) -> bool:
        """It ran, and gave the expected picture (NaN is none)."""
        return self.difference is not None and self.difference <= self.limit


@dataclass(frozen=True)
class Facts:
    """All that is known."""

    ours: str = ""
    """Our version."""
    python: tuple[int, int, int] = (3, 10, 0)
    executable: str = "python"
    system: str = ""
    """Operating system and machine."""
    packages: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    """Version by name of the distribution; None where it is not installed."""
    broken: Mapping[str, str] = field(default_factory=dict[str, str])
    """Modules that are installed and cannot be imported, and what they say."""
    torch_build: str = ""
    """"cpu", "cuda 12.6", "rocm 6.2" or "mps"; "" without PyTorch."""
    cards: tuple[Card, ...] = ()
    """NVIDIA's."""
    runtimes: tuple[str, ...] = ()
    """Distributions that bring a module `onnxruntime`."""
    devices: tuple[Device, ...] = ()
    backends: tuple[Backend, ...] = ()
    encoders: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """By codec: whether this FFmpeg can write it."""
    temporary: tuple[str, int] | None = None
    """The folder of temporary files, and the bytes that are free there."""
    programs: tuple[Program, ...] = ()
    hook: Hook | None = None
    damaged: tuple[str, ...] = ()
    """What is wrong with the models that ship."""
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something to do, or to know."""

    level: Literal["problem", "note"]
    """A problem is something that does not work; a note is something that could be better."""
    what: str
    cure: str
