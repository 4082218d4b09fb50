"""The stages of an inference form, so that exact tiles run the same fast modules as the whole image.

What is local in a chain, however many modules, is one stage. Only what looks at the whole image (norms over it, gates
from it) or at its grid (windows) separates stages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.layers import WindowAttention
from paragon_arch.networks.programs import stages_of
from paragon_arch.networks.stages import Map, Moments, Program, Region, Value
from paragon_arch.networks.stages_dualpath import add_attention, add_group
from paragon_arch.networks.v2_dualpath_blocks import BiasedWindowAttention, ConvWindowAttention, MultiScaleGroup
from paragon_arch.networks.v2_release import ChannelAttention

from .bands import BandedResidual
from .chains import Pooled, Residual
from .form import InferenceForm
from .modules import InPlaceResidual, NormedContextStep, NormedProduct
from .reach import radius_of, reach_of


class _NotKnownError(LookupError):
    """A module's reach is not known."""


def form_stages(form: InferenceForm, height: int, width: int) -> Program | None:
    """Stages of an inference form for images of one size; None if they are not known."""
    if isinstance(form.shallow, SRNetwork):  # no chain: the network as it was
        return stages_of(form.shallow, height, width)
    program = Program(height, width, channels_last=form.memory_format == torch.channels_last)
    try:
        _add_form(program, form)
    except _NotKnownError:
        return None
    return program


def _add_form(program: Program, form: InferenceForm) -> None:
    chain = _Chain(program, program.image)
    chain.add([form.shallow])
    chain.flush()
    chain.add(form.deep)
    chain.flush()
    chain.add(form.tail)
    if not len(form.base) and form.image_gate is None:
        chain.add([form.shuffle])
        chain.flush()
        return
    ends = [form.tail, form.base] + ([] if form.image_gate is None else [form.image_gate])
    halo = 1 + max(_known(radius_of(nn.Sequential(end, form.shuffle))) for end in ends)
    chain.flush(lambda out, image: _finished(form, out, image), program.image, halo=halo, scale=form.shuffle)


def _finished(form: InferenceForm, out: Tensor, image: Tensor) -> Tensor:
    """See `InferenceForm.joined`, for a crop of the image."""
    return form.joined(out, image.contiguous(memory_format=form.memory_format))


def _known(radius: int | None) -> int:
    if radius is None:
        raise _NotKnownError
    return radius


@dataclass(frozen=True)
class _Pooling:
    """A module that needs something from the whole image."""

    value: Callable[[Program, Map], Value]
    apply: Callable[[Tensor, Any], Tensor]
    """From a crop and the settled value to the module's result."""
    halo: int = 0


class _Chain:
    """Adds a chain to a program, behind the map ``x``."""

    def __init__(self, program: Program, x: Map) -> None:
        self.program, self.x = program, x
        self._pooling: _Pooling | None = None
        self._run: list[nn.Module] = []

    def add(self, steps: Iterable[nn.Module]) -> None:
        """Add modules; local ones are held back until `flush`."""
        for step in steps:
            pooling = _pooling(step)
            if pooling is not None:
                self.flush()
                self._pooling = pooling
            elif type(step) is nn.Sequential:
                self.add(step)
            elif isinstance(step, Residual | InPlaceResidual):
                self._add_residual(step)
            elif isinstance(step, WindowAttention | ConvWindowAttention | BiasedWindowAttention | MultiScaleGroup):
                self.flush()
                self.x = _add_whole(self.program, step, self.x)
            else:
                self._run.append(step)

    def flush(
        self,
        join: Callable[[Tensor, Tensor], Tensor] | None = None,
        *others: Map,
        halo: int = 0,
        scale: nn.Module | None = None,
    ) -> None:
        """Add the stage of the modules held back.

        Args:
            join: called with their result and the crops of ``others``.
            others: maps of the size of ``x``.
            halo: that ``join`` needs, with what comes before it.
            scale: the part of ``join`` that changes the size.
        """
        pooling, run = self._pooling, nn.Sequential(*self._run)
        self._pooling, self._run = None, []
        if pooling is None and not len(run) and join is None:
            return
        reach = reach_of(run)
        beyond = reach_of([run, nn.Identity() if scale is None else scale])
        if reach is None or beyond is None:
            raise _NotKnownError
        values = [] if pooling is None else [pooling.value(self.program, self.x)]

        def apply(x: Tensor, *rest: Any) -> Tensor:
            if pooling is not None:
                x = pooling.apply(x, rest[-1])
            x = run(x)
            return x if join is None else join(x, *rest[: len(others)])

        halo = max(halo, beyond.before) + (0 if pooling is None else pooling.halo)
        self.x = self.program.map(apply, self.x, *others, *values, halo=halo, ratio=beyond.scale)

    def _add_residual(self, step: Residual | InPlaceResidual) -> None:
        self.flush()
        radius = radius_of(step)
        if radius is not None:
            self.x = self.program.map(step, self.x, halo=radius)
            return
        start = self.x
        self.add(step.inner)
        fresh = bool(self._run) and isinstance(self._run[-1], nn.Conv2d)
        self.flush(_plus_in_place if fresh else torch.add, start)


def _plus_in_place(y: Tensor, x: Tensor) -> Tensor:
    """Add to what a convolution has just made."""
    return y.add_(x)


def _add_whole(program: Program, step: nn.Module, x: Map) -> Map:
    """Window attention, and the groups that passes leave alone."""
    if isinstance(step, MultiScaleGroup):
        return add_group(program, step, x)
    if not isinstance(step, WindowAttention):
        return add_attention(program, step, x)

    def attend(region: Region, x: Tensor) -> Tensor:
        return step.on_grid(region.inside(x))

    return program.windows(attend, x, window=step.window, shift=step.shift)


def _pooling(step: nn.Module) -> _Pooling | None:
    """What a module needs from the whole image, or None."""
    if isinstance(step, nn.GroupNorm) and step.num_groups == 1:
        weight, bias = (step.weight, step.bias) if step.affine else (None, None)
        return _Pooling(Program.moments, lambda x, m: m.normalise(x, step.eps, weight, bias))
    if isinstance(step, NormedContextStep):
        halo = max(_known(radius_of(layer)) for layer in step.filters)
        return _Pooling(Program.moments, lambda x, m: step.given(x, *_affine(step.norm, m, x)), halo)
    if isinstance(step, BandedResidual) and isinstance(head := step.inner[0], NormedProduct):
        norm = head.convs.norm
        return _Pooling(Program.moments, lambda x, m: step.given(x, *_affine(norm, m, x)), step.reach)
    if isinstance(step, NormedProduct):
        halo = _known(radius_of(step.rest))
        return _Pooling(Program.moments, lambda x, m: step.given(*_affine(step.convs.norm, m, x))(x), halo)
    if isinstance(step, Pooled):
        weight = next(step.gate.parameters())
        return _gate(lambda mean: step.gate(mean.to(weight)))
    return _gate(step.gate) if isinstance(step, ChannelAttention) else None


def _gate(gate: Callable[[Tensor], Tensor]) -> _Pooling:
    return _Pooling(lambda program, x: program.channel_means(x, gate), torch.mul)


def _affine(norm: nn.GroupNorm, moments: Moments, like: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift ``(1, C, 1, 1)``, FP32 at least, with which ``x * scale + shift`` is the norm."""
    wide = torch.promote_types(like.dtype, torch.float32)
    scale = like.new_full((1, norm.num_channels, 1, 1), (moments.variance + norm.eps) ** -0.5, dtype=wide)
    if not norm.affine:
        return scale, -moments.mean * scale
    scale = scale * norm.weight.view(1, -1, 1, 1)
    return scale, norm.bias.view(1, -1, 1, 1) - moments.mean * scale
