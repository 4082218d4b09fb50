"""Telling a damaged checkpoint of the family from somebody else's model: most of its tensors have our names."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from .layouts import LAYOUTS
from .layouts.base import Layout
from .networks.base import SRNetwork, structure_only
from .networks.v2_ultimate import ParagonSR2Ultimate

SHARED = 0.7
"""Of all names, those that file and layout must have in common, block numbers left out."""

_NUMBERED = re.compile(r"\b(body|blocks|layers|hr_head)\.(?:\d+|#)\.")
"""Where parts of the same kind are counted; elsewhere a number is part of a name."""


def damage(state: Mapping[str, Tensor]) -> str | None:
    """What is wrong with a state dict that fits no layout, in words; None if it is not one of ours.

    The nearest layout is that which shares most names with it. A name is missing if all of the layout's networks have
    it, or if only some of the blocks do.
    """
    found = {_unnumbered(key) for key in state}
    scored = [(_likeness(found, names), layout, names) for layout, names in _layouts()]
    best, layout, names = max(scored, key=lambda item: item[0], default=(0.0, LAYOUTS[0], frozenset[str]()))
    if best < SHARED:
        return None
    missing = sorted(name for name in names - found if "#" not in name) + _gaps(state, names)
    listed = f"{', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''}"
    return f"looks like layout {layout.id}, but {len(missing)} of its tensors are missing ({listed})"


def _likeness(found: set[str], names: frozenset[str]) -> float:
    return len(found & names) / max(1, len(found | names))


def _unnumbered(key: str) -> str:
    """A key with ``#`` for the numbers of groups and blocks."""
    return _NUMBERED.sub(r"\1.#.", key)


def _gaps(state: Mapping[str, Tensor], names: Iterable[str]) -> list[str]:
    """Tensors that a group or block lacks: of its like at least half have them, or none has, though networks do."""
    places: dict[str, set[str]] = {}
    for key in state:
        place = _place(key)
        places.setdefault(_unnumbered(place), set()).add(place)
    gaps: list[str] = []
    for name in names:
        rest = name[len(_place(name)) :]
        alike = places.get(_place(name), set()) if "#" in name else set[str]()
        lacking = [place for place in alike if place + rest not in state]
        if 2 * len(lacking) <= len(alike) or len(lacking) == len(alike):
            gaps += [place + rest for place in lacking]
    return sorted(gaps)


def _place(key: str) -> str:
    """What comes before the tensor's name inside its block or group, number included."""
    found = list(_NUMBERED.finditer(key))
    return key[: found[-1].end()] if found else ""


@functools.lru_cache(maxsize=1)
def _layouts() -> tuple[tuple[Layout, frozenset[str]], ...]:
    """Names of the tensors of each layout's official networks in all their forms."""
    known: dict[tuple[object, ...], tuple[Layout, frozenset[str]]] = {}
    for layout in LAYOUTS:
        for variant, form in itertools.product(layout.variants, _FORMS):
            options = {**variant.shape, "num_groups": 1, "num_blocks": 1, **form}
            if layout.network is ParagonSR2Ultimate:
                options["num_blocks"] = 51  # its blocks are of three kinds
            facts = ((name, bool(value) if isinstance(value, int) else value) for name, value in options.items())
            key = (layout.id, options["scale"], *sorted(facts))  # widths do not matter to names
            if key not in known and (network := _structure(layout, options)) is not None:
                known[key] = layout, frozenset(map(_unnumbered, network.state_dict()))
    return tuple(known.values())


_FORMS: tuple[dict[str, object], ...] = tuple(
    {"scale": scale, **form} for scale in (2, 4) for form in ({}, {"fused": True}, {"window_size": 8})
)
"""Arguments that change which tensors there are, besides those of a variant."""


def _structure(layout: Layout, options: Mapping[str, Any]) -> SRNetwork | None:
    """A network without memory; None if the layout does not take the options."""
    try:
        with structure_only():
            return layout.network(**options)
    except (TypeError, ValueError):
        return None
