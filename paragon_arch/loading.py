"""Opening a checkpoint: read, recognise, settle what it does not say, build."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from . import tracked
from .building import build, check
from .damage import damage
from .errors import InvalidOptionError, StateMismatchError, UnknownLayoutError
from .files.budget import shown
from .files.checkpoint import read_checkpoint
from .files.hints import METADATA_PREFIX
from .inspection import Inspection
from .layouts import State, identify
from .layouts.base import Hyper, Layout
from .layouts.munet import refuse_munet
from .networks.base import SRNetwork
from .probe import ScaleMeasurement, check_alpha, measure_scale
from .resolve import Evidence, Resolved, resolve

BLEND = METADATA_PREFIX + "blend"
"""Metadata of a file whose weights were blended (`Inspection.blend`)."""
Source = str | os.PathLike[str] | Mapping[str, Any]

TrackedFlags = Literal["repair", "keep"]

_LARGE = 64 * 2**20
_MANY = 4096
"""Bytes and number of weights above which it pays to look at all shapes first."""
_ANY_SCALE = 2
"""Where the shapes do not tell it, they do not depend on it."""
_PROBE_SCALES = (1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Opened:
    """A network and everything that is known about it."""

    network: SRNetwork
    layout: Layout
    report: Inspection


def open_checkpoint(
    source: Source,
    overrides: Mapping[str, Any],
    *,
    on_ambiguous: Literal["ask", "guess"] = "ask",
    tracked_flags: TrackedFlags = "repair",
) -> Opened:
    """Open a checkpoint of the family.

    Args:
        source: path of a file, or a state dict (bare or wrapped).
        overrides: values of `resolve.OPTIONS` that the caller insists on.
        on_ambiguous: an unsettled scale raises ("ask") or takes the likeliest value ("guess"), which the report
            then lists under ``ambiguous``.
        tracked_flags: what to do with flags that deny tracked kernels that are there (see `tracked`).

    Raises:
        ParagonError: see the tree in `errors`.
    """
    if tracked_flags not in ("repair", "keep"):
        raise InvalidOptionError(f"tracked={tracked_flags!r} is not one of 'repair', 'keep'")
    where = "the state dict" if isinstance(source, Mapping) else str(Path(source))
    checkpoint = read_checkpoint(source, first=lambda state: _look(state, where))
    layout, hyper = _recognise(checkpoint.state, where)
    state, problems = _repair(checkpoint.state, tracked_flags)
    evidence = Evidence(overrides, checkpoint.hints, checkpoint.path.stem if checkpoint.path else "", where)
    values = resolve(layout, hyper, evidence, _scale_probe(layout, hyper, state, where), guess=on_ambiguous == "guess")
    network = build(layout, {**hyper, **_arguments(values)}, state, where)
    problems += [f"{name}: {item.note}" for name, item in values.items() if item.note]
    problems += _alpha_doubt(network, values)
    report = Inspection(
        layout=layout.id,
        generation=layout.generation,
        variant=variant.name if (variant := layout.variant(network.hyperparameters)) else None,
        values=values,
        hyperparameters=network.hyperparameters,
        fused=network.fused,
        fusible=network.fusible,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        dtype=_dtypes(checkpoint.state),
        receptive_field=network.receptive_field(),
        problems=tuple(problems),
        path=checkpoint.path,
        format=checkpoint.format,
        wrapper=checkpoint.wrapper,
        blend=checkpoint.metadata.get(BLEND, ""),
    )
    return Opened(network, layout, report)


def _recognise(state: Mapping[str, Tensor], where: str) -> tuple[Layout, Hyper]:
    """The layout, and what the shapes prove."""
    layout = _identify(state, where)
    try:
        return layout, layout.read(State(state))
    except StateMismatchError as error:
        raise StateMismatchError(f"{where}: {error}") from error


def _look(state: Mapping[str, Tensor], where: str) -> None:
    """Refuse a large file that is none of ours, or has a wrong tensor, before its weights are read."""
    if len(state) > _MANY or sum(tensor.nbytes for tensor in state.values()) > _LARGE:
        layout, hyper = _recognise(state, where)
        check(layout, {**hyper, **_defaults(layout, hyper), "scale": hyper.get("scale", _ANY_SCALE)}, state, where)


def _defaults(layout: Layout, hyper: Hyper) -> Hyper:
    return {item.name: layout.default(item, hyper) for item in layout.unknowns if item.applies(hyper)}


def _identify(state: Mapping[str, Tensor], where: str) -> Layout:
    layout = identify(state)
    if layout is not None:
        return layout
    refuse_munet(state)
    fault = damage(state)
    if fault is not None:
        raise StateMismatchError(f"{where}: {fault}; the file is damaged, get it again")
    raise UnknownLayoutError(
        f"{where}: not a checkpoint of the ParagonSR family; its {len(state)} tensors "
        f"({', '.join(map(shown, sorted(state)[:3]))}, ...) fit none of the layouts in docs/layouts.md"
    )


def _repair(state: Mapping[str, Tensor], flags: TrackedFlags) -> tuple[dict[str, Tensor], list[str]]:
    wrong = tracked.mislabelled(state)
    if not wrong:
        return dict(state), []
    fault = f"{len(wrong)} tracked kernels are there but flagged as never tracked (a known fault of EMA copies)"
    if flags == "keep":
        return dict(state), [f"{fault}; kept on request: identity kernels are used, quality suffers"]
    return tracked.repaired(state), [f"{fault}; repaired: the tracked kernels are used"]


def _arguments(values: Mapping[str, Resolved]) -> Hyper:
    return {name: item.value for name, item in values.items()}


def _scale_probe(
    layout: Layout, hyper: Hyper, state: Mapping[str, Tensor], where: str
) -> Callable[[], ScaleMeasurement]:
    """A measurement at the layout's default of everything else, to be run only if it is needed."""
    others = _defaults(layout, hyper)

    def at_scale(scale: int) -> SRNetwork:
        return build(layout, {**hyper, **others, "scale": scale}, state, where)

    return lambda: measure_scale(at_scale, candidates=_PROBE_SCALES)


def _alpha_doubt(network: SRNetwork, values: Mapping[str, Resolved]) -> list[str]:
    """A warning if a default alpha looks wrong: another one reproduces the input much better."""
    alpha = values.get("alpha")
    if alpha is None or alpha.source != "default":
        return []
    better = check_alpha(network)
    if better is None:
        return []
    return [f"alpha: the default {alpha.value:g} looks wrong for these weights; try alpha={better:g}"]


def _dtypes(state: Mapping[str, Tensor]) -> str:
    kinds = sorted({str(t.dtype).removeprefix("torch.") for t in state.values() if t.is_floating_point()})
    return kinds[0] if len(kinds) == 1 else f"mixed ({', '.join(kinds)})"
