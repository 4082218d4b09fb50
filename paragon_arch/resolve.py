"""Settles what a state dict does not say, by one documented order, and remembers which source decided.

override > hint in the file > proven by shapes > file name > measured > default (docs/checkpoints.md).
A value that shapes prove cannot be overridden; a hint that contradicts them is ignored with a note.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import AmbiguousValueError, InvalidOptionError
from .layouts.base import Hyper, Layout, Unknown
from .probe import ScaleMeasurement

Source = Literal["override", "hint", "shapes", "name", "measured", "default"]

OPTIONS = ("scale", "alpha", "window_size", "use_norm", "attention")
"""Every value that some checkpoint leaves open, under the name of the keyword argument that settles it."""

SCALES = (1, 2, 3, 4, 6, 8, 16)
"""Scales in use in the family; names and hints outside of them are not believed."""

_MAX_WINDOW = 64
"""Twice the largest window of the family: attention takes the fourth power of it."""
_NAME_SCALE = re.compile(
    r"(?<![a-z0-9])(\d{1,2})x(?!\d)"  # 2xNano, my_4x-model
    r"|(?<![0-9])(\d{1,2})x(?![a-z0-9])"  # nano2x
    r"|(?<![a-z0-9])x(\d{1,2})(?![a-z0-9])",  # model_x2
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Resolved:
    """A value and where it came from."""

    value: Any
    source: Source
    note: str = ""
    """What the user should know about it; empty if there is nothing to say."""
    candidates: tuple[float, ...] = ()
    """Likely values, the likeliest first, where the value is a guess between them."""


@dataclass(frozen=True)
class Evidence:
    """What is known about a checkpoint besides its tensors."""

    overrides: Mapping[str, Any]
    """The caller's values; None means not given."""
    hints: Mapping[str, Any]
    """Values stored in the file."""
    name: str
    """The file's name without folder and extension; empty for a bare state dict."""
    where: str
    """How messages call the checkpoint."""


def resolve(
    layout: Layout, hyper: Hyper, evidence: Evidence, measure: Callable[[], ScaleMeasurement], *, guess: bool
) -> dict[str, Resolved]:
    """Settle every value of a checkpoint.

    Args:
        layout: its layout.
        hyper: what the shapes prove.
        evidence: everything else that is known.
        measure: runs the scale probe; only called when nothing better settles the scale.
        guess: take the likeliest value of an inconclusive measurement, with a note, instead of raising.

    Returns:
        One entry for each option that the layout has, in the order of `OPTIONS`.

    Raises:
        InvalidOptionError: an override is out of range, contradicts the shapes, or names what the layout lacks.
        AmbiguousValueError: measuring the scale was inconclusive and ``guess`` is off.
    """
    unknowns = {unknown.name: unknown for unknown in layout.unknowns if unknown.applies(hyper)}
    values: dict[str, Resolved] = {}
    for name in OPTIONS:
        if name in hyper:
            values[name] = _proven(name, hyper[name], layout, evidence)
        elif name in unknowns:
            values[name] = _settle(unknowns[name], layout, hyper, evidence, measure, guess)
        elif evidence.overrides.get(name) is not None:
            raise InvalidOptionError(f"{evidence.where}: layout {layout.id} has no {name}; leave that option out")
    return values


def _proven(name: str, proof: Any, layout: Layout, evidence: Evidence) -> Resolved:
    given, hint = evidence.overrides.get(name), evidence.hints.get(name)
    if given is not None and given != proof:
        raise InvalidOptionError(
            f"{evidence.where}: {name}={given} contradicts the tensors, whose shapes prove {name}={proof}; "
            "leave that option out"
        )
    note = f"the stored hint {hint} contradicts the shapes and was ignored" if hint not in (None, proof) else ""
    return Resolved(proof, "shapes", note)


def _settle(
    unknown: Unknown,
    layout: Layout,
    hyper: Hyper,
    evidence: Evidence,
    measure: Callable[[], ScaleMeasurement],
    guess: bool,
) -> Resolved:
    given = evidence.overrides.get(unknown.name)
    if given is not None:
        return Resolved(checked(unknown, given, evidence.where), "override")
    hint = evidence.hints.get(unknown.name)
    if hint is not None:
        try:
            return Resolved(checked(unknown, hint, evidence.where), "hint")
        except InvalidOptionError as error:
            note = f"the stored hint was ignored: {error}"
            return _unhinted(unknown, layout, hyper, evidence, measure, guess, note)
    return _unhinted(unknown, layout, hyper, evidence, measure, guess)


def _unhinted(
    unknown: Unknown,
    layout: Layout,
    hyper: Hyper,
    evidence: Evidence,
    measure: Callable[[], ScaleMeasurement],
    guess: bool,
    note: str = "",
) -> Resolved:
    named = from_name(unknown, evidence.name)
    if named is not None:
        return Resolved(named, "name", note)
    if unknown.name == "scale":
        return _measured(measure(), evidence, guess)
    return Resolved(layout.default(unknown, hyper), "default", note)


def _measured(found: ScaleMeasurement, evidence: Evidence, guess: bool) -> Resolved:
    if not found.ambiguous:
        return Resolved(found.best, "measured")
    likely = " or ".join(str(scale) for scale in found.likeliest)
    if not guess:
        raise AmbiguousValueError(
            f"{evidence.where}: the checkpoint does not store its scale and measuring it was inconclusive "
            f"(probably {likely}); give it with scale=N (--scale N)",
            option="scale",
            candidates=found.likeliest,
        )
    return Resolved(
        found.likeliest[0],
        "measured",
        f"the scale is a guess between {likely}; give it, or put it into the file name (2x_...)",
        found.likeliest,
    )


def from_name(unknown: Unknown, name: str) -> Any:
    """What a file name says about an option; None if nothing, or several different things."""
    if unknown.name == "scale":
        found = {int(text) for match in _NAME_SCALE.finditer(name) for text in match.groups() if text}
        found &= set(SCALES)
        return found.pop() if len(found) == 1 else None
    # all published "fidelity" weights of v10 and release were trained with the pre-filter off
    if unknown.name == "alpha" and unknown.maximum is None and "fidelity" in name.lower():
        return 0.0
    return None


def checked(unknown: Unknown, value: Any, where: str) -> Any:
    """The value in its proper type, or an InvalidOptionError."""
    name = unknown.name
    if name == "alpha":
        number = _number(name, value, where)
        if number < 0 or (unknown.maximum is not None and number > unknown.maximum):
            upper = "any positive number" if unknown.maximum is None else f"{unknown.maximum:g}"
            raise InvalidOptionError(f"{where}: alpha={value} is out of range; it lies between 0 and {upper}")
        return number
    if name in ("scale", "window_size"):
        number = _number(name, value, where)
        limit = 16 if name == "scale" else _MAX_WINDOW
        if number != int(number) or not 1 <= number <= limit:
            raise InvalidOptionError(f"{where}: {name}={value} is out of range; it is a whole number from 1 to {limit}")
        return int(number)
    if unknown.choices is not None and value not in unknown.choices:
        raise InvalidOptionError(f"{where}: {name}={value!r} is not one of {list(unknown.choices)}")
    return value


def _number(name: str, value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidOptionError(f"{where}: {name}={value!r} is not a number")
    return float(value)
