"""A model ready to run: the one object that pictures, videos, folders, nodes and reports run their models with."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Hashable
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

from paragon_arch.copying import private_copy
from paragon_arch.errors import InvalidOptionError
from paragon_arch.model import padded
from paragon_arch.networks.base import SRNetwork

from .backends import Precision, Runner, backend
from .backends.base import DTYPES, check_request
from .backends.choose import choose
from .backends.forms import graph_of
from .backends.graph_file import GraphNetwork
from .backends.precision import Ladder, PrecisionChoice, half_precisions, rungs
from .backends.pytorch import ModuleRunner
from .devices import computing, release_cached, resolve_device
from .finite import is_finite
from .inference import InferenceForm, inference_form
from .progress import log
from .subject import Subject, subject_of

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

T = TypeVar("T")
GRAPH_MINIMUM = 2
"""Side of the smallest image that every graph takes (see `paragon_engine.inference.borders`)."""
REMEMBERED = 64
"""Facts about sizes of images that are kept."""


class Upscaler:
    """A model ready to run, in its fastest form.

        with Upscaler("2x-ParagonSR2-Realtime-v1") as upscaler:
            upscale_file(upscaler, "photo.jpg", "photo_2x.png")

    It works on a private copy: what it was made from is neither changed nor moved, nor kept alive. A result in half
    precision that is not finite is computed again in a safer one, as is all that follows; one that is not finite in the
    last precision is an error, never a picture. One thread at a time may use it.

    Args:
        model: path of a checkpoint, name of a shipped model, a loaded model of any of spandrel's families, or a
            network of ours; None for the shipped default.
        device: see `devices.resolve_device`.
        backend: name of what computes (`paragon_engine.backends`), or "auto" for the fastest one here, measured for
            some seconds the first time and remembered. Models of other families have "torch" alone.
        precision: "auto" is FP32, on CUDA the fastest half precision that layout and device hold.
        halves: half precisions that the device is to be used in; None to ask the device.
        overrides: of a file: values for `paragon_arch.load`.

    Attributes:
        scale: output pixels per input pixel along each side.
        device: that does the work.
        backend: name of what computes.

    Raises:
        CheckpointError, LayoutError: the file cannot be used.
        OptionError: an unknown name, or something that model, device and backend cannot do together; the message
            says what can.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | ImageModelDescriptor[Any] | SRNetwork | None = None,
        *,
        device: str | torch.device = "auto",
        backend: str = "torch",
        precision: PrecisionChoice = "auto",
        halves: Collection[str] | None = None,
        **overrides: Any,
    ) -> None:
        with _building():
            self._start(subject_of(model, overrides), resolve_device(device), backend, precision, halves)

    def _start(
        self,
        subject: Subject,
        device: torch.device,
        name: str,
        precision: PrecisionChoice,
        halves: Collection[str] | None,
    ) -> None:
        self._subject: Subject | None = subject
        self.scale, self.device = subject.scale, device
        self._modules: dict[Precision, nn.Module] = {}
        self._runners: dict[Precision, Runner] = {}
        self._facts: dict[Hashable, Any] = {}
        family = subject.family
        if family is None and name not in ("torch", "auto"):
            raise InvalidOptionError(f"backend {name} runs ParagonSR models only: choose torch")
        held = half_precisions(device) if halves is None else halves

        def steps(computes: Collection[str]) -> tuple[Precision, ...]:
            cuda = device.type == "cuda"
            return rungs(precision, layout=subject.halves, device=held, backend=computes, prefer_half=cuda)

        chosen = backend("torch" if family is None or name == "auto" else name)
        if name == "auto" and family is not None:
            chosen = choose(family, device=device, precision=steps(("fp16", "bf16"))[0])
        self._backend, self.backend = chosen, chosen.name
        first = precision if precision in ("fp16", "bf16") else "fp32"
        if family is not None and not (self.backend == "torch" and device.type not in chosen.devices):
            check_request(chosen, device, first)
        self._ladder = Ladder(steps(chosen.precisions))
        if not self.eager:
            self._runner(self.precision)  # what it refuses is refused now
        log.info("%s, scale %d: %s on %s, %s", subject.name, subject.scale, self.backend, device, self.precision)

    @property
    def subject(self) -> Subject:
        """The network and what is known of it.

        Raises:
            InvalidOptionError: the upscaler was closed.
        """
        if self._subject is None:
            raise InvalidOptionError("this upscaler was closed: make another one")
        return self._subject

    @property
    def channels(self) -> tuple[int, int]:
        """Of its images and of its results."""
        return self.subject.channels

    @property
    def precision(self) -> Precision:
        """What it computes in now."""
        return self._ladder.precision

    @property
    def eager(self) -> bool:
        """PyTorch calls its layers one by one, so that it can be watched and taken in stages."""
        return self.backend == "torch"

    @property
    def rewritten(self) -> SRNetwork | None:
        """The network of the family whose inference form runs; None where a network runs as it is."""
        return self.subject.family if self.device.type in self._backend.devices else None

    @property
    def predictable(self) -> bool:
        """What it allocates is known beforehand; a runtime behind an ONNX file does not tell."""
        return not isinstance(self.subject.network, GraphNetwork)

    def module(self, precision: Precision | None = None) -> nn.Module:
        """The module that PyTorch runs in a precision; None: the present one. With another backend, one like it."""
        precision = self.precision if precision is None else precision
        if precision not in self._modules:
            with _building():
                self._modules[precision] = self._made(precision)
        return self._modules[precision]

    def _made(self, precision: Precision) -> nn.Module:
        network, dtype = self.subject.network, DTYPES[precision]
        if self.rewritten is not None:
            return inference_form(self.rewritten, device=self.device).to(dtype=dtype)
        return network if self._ladder.steps == (precision,) else private_copy(network, dtype=dtype)

    def _runner(self, precision: Precision) -> Runner:
        if precision not in self._runners:
            with _building():
                self._runners[precision] = self._prepared(precision)
        return self._runners[precision]

    def _prepared(self, precision: Precision) -> Runner:
        subject, device, dtype = self.subject, self.device, DTYPES[precision]
        if not self.eager:
            return self._backend.prepare(cast("SRNetwork", subject.network), device=device, precision=precision)
        module = self.module(precision)
        if self.rewritten is not None:
            return ModuleRunner(module, device, dtype)
        module.to(device, dtype)
        call = subject.call or _called
        return lambda x: call(module, x.to(device, dtype)).to(x.device, torch.float32)

    def whole(self, x: Tensor) -> Tensor:
        """Run images of a size that the network takes (`Subject.padded_size`), at once.

        Args:
            x: ``(N, C, H, W)`` in 0..1.

        Returns:
            ``(N, C, H*scale, W*scale)`` FP32 on the device of ``x``: finite, not clamped.

        Raises:
            NonFiniteError: not finite in the last precision, either.
        """
        while True:
            precision = self.precision
            try:
                result = self._computed(x, precision)
            except RuntimeError as error:
                if not self.cannot(error):
                    raise
                continue
            if is_finite(result):
                return result
            self.overflowed()

    def _computed(self, x: Tensor, precision: Precision) -> Tensor:
        runner = self._runner(precision)
        with computing(self.device):
            if min(x.shape[2:]) < GRAPH_MINIMUM and not self.eager:
                form = cast("InferenceForm", self.module("fp32").to(self.device))
                return cast("Tensor", form(x.to(self.device, torch.float32))).to(x.device)
            return runner(x)

    def overflowed(self) -> None:
        """A result was not finite: compute in the next precision from now on.

        Raises:
            NonFiniteError: there is none.
        """
        failed = self.precision
        self._ladder.overflowed()
        self._forget(failed)

    def cannot(self, error: RuntimeError) -> bool:
        """Whether an error means that the device lacks the present precision; the next one is taken from now on."""
        failed = self.precision
        if not self._ladder.cannot(error):
            return False
        self._forget(failed)
        return True

    def _forget(self, precision: Precision) -> None:
        self._runners.pop(precision, None)
        self._modules.pop(precision, None)

    def __call__(self, x: Tensor) -> Tensor:
        """Run images of any size at once; `paragon_engine.upscale_tensor` also divides them where memory is short.

        Args:
            x: ``(N, C, H, W)`` in 0..1, on any device.

        Returns:
            ``(N, C, H*scale, W*scale)`` FP32 in 0..1, on the device of ``x``.

        Raises:
            NonFiniteError: not finite in the last precision, either.
        """
        height, width = (side * self.scale for side in x.shape[-2:])
        with computing(self.device):
            y = self.whole(self.padded(x.to(self.device)))
            return y[..., :height, :width].clamp_(0, 1).to(x.device)

    def padded(self, x: Tensor) -> Tensor:
        """Images extended at the bottom and right to a size that the network takes: mirrored, then repeated."""
        return padded(x, self.subject.padded_size(*x.shape[-2:]))

    def graph(self, precision: Precision = "fp32") -> bytes:
        """The ONNX graph of a model of the family, compared with it.

        Raises:
            InvalidOptionError: not one of the family, or its graph computes something else by design.
            OutputError: the graph is wrong.
        """
        family = self.subject.family
        if family is None:
            raise InvalidOptionError(f"{self.subject.name}: only ParagonSR models are exported")
        return graph_of(family, "fp16" if precision == "fp16" else "fp32")

    def receptive_field(self) -> int | None:
        """Radius in input pixels that an output depends on; None if it is unlimited or not known."""
        measure: Any = getattr(self.subject.network, "receptive_field", None)
        return cast("int | None", measure()) if callable(measure) else None

    def remembered(self, fact: Hashable, find: Callable[[], T]) -> T:
        """A fact that depends on the model alone, found once."""
        if fact not in self._facts:
            while len(self._facts) >= REMEMBERED:
                del self._facts[next(iter(self._facts))]
            self._facts[fact] = find()
        return self._facts[fact]

    def variant(self, network: nn.Module, channels: tuple[int, int]) -> Upscaler:
        """An upscaler on the same device that runs a module of another kind, in FP32.

        Args:
            network: has the attribute ``scale`` and the method ``receptive_field``; it is not copied.
            channels: of its images and of its results.
        """
        twin = Upscaler.__new__(Upscaler)
        twin._start(self.subject.with_network(network, channels), self.device, "torch", "fp32", ())
        return twin

    def close(self) -> None:
        """Let go of the model and give the memory of the device back; the upscaler cannot be used any more."""
        self._subject = None
        for kept in (self._modules, self._runners, self._facts):
            kept.clear()
        release_cached(self.device)

    def __enter__(self) -> Upscaler:
        """The upscaler, which is closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _called(module: nn.Module, x: Tensor) -> Tensor:
    return module(x)


@contextmanager
def _building() -> Generator[None, None, None]:
    """Outside PyTorch's inference mode, in which ComfyUI runs nodes and which forbids rebuilding a network."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield
