"""The tables of docs/models.md, from the code's own registry of layouts and the catalogue of shipped models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import paragon_arch
from paragon_arch.layouts import LAYOUTS, Layout, State, Variant
from paragon_arch.layouts.base import BLOCK
from paragon_arch.networks.base import SRNetwork
from paragon_engine.catalog import ShippedModel, shipped_models


class Watched(State):
    """A state dict that keeps what detection asks it for, and what the answer was."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self.answers: dict[str, bool] = {}

    def has(self, *keys: str) -> bool:
        """As `State.has`, each key kept until the first that is missing."""
        for key in keys:
            self.answers[f"`{key}`"] = super().has(key)
            if not super().has(key):
                return False
        return True

    def any_with(self, part: str) -> bool:
        """As `State.any_with`."""
        self.answers[f"`*{part}*`"] = super().any_with(part)
        return super().any_with(part)

    def shape(self, key: str) -> tuple[int, ...]:
        """As `State.shape`."""
        shape = super().shape(key)
        self.answers[f"`{key}` of {len(shape)} dimension{'s' * (len(shape) != 1)}"] = bool(shape)
        return shape


def empty_network(layout: Layout, variant: Variant) -> SRNetwork:
    """An official variant of one block, without memory for its weights: all that detection looks at."""
    proven = {**variant.shape, "num_groups": 1, "num_blocks": 1}
    open_values = {item.name: layout.default(item, proven) for item in layout.unknowns if item.applies(proven)}
    options: dict[str, Any] = {"scale": 2, **open_values, **proven}
    with torch.device("meta"):
        return layout.network(**options)


def marks(layout: Layout, variant: Variant) -> list[str]:
    """The keys by which a checkpoint of this variant is recognised, in the order in which they are asked for."""
    state = Watched(empty_network(layout, variant).state_dict())
    if not layout.matches(state):
        raise AssertionError(f"{layout.id} {variant.name} is not recognised")
    return [(key if found else f"no {key}").replace(BLOCK, "…") for key, found in state.answers.items()]


def overview() -> str:
    """One line for each layout: dates, variants, and what its files do not say."""
    rows = [("layout", "generation", "written", "variants", "not in the file")]
    for layout in LAYOUTS:
        names = dict.fromkeys(variant.name for variant in layout.variants)
        left = ", ".join(unknown.name.replace("_", " ") for unknown in layout.unknowns) or "nothing"
        rows.append((f"`{layout.id}`", layout.generation, layout.dates, ", ".join(names), left))
    return table(rows)


def detection() -> str:
    """One line for each way to recognise a layout, in the order of trying; variants with equal marks together."""
    rows = [("", "layout", "variants", "recognised by")]
    for number, layout in enumerate(LAYOUTS, 1):
        groups: dict[tuple[str, ...], list[str]] = {}
        for variant in layout.variants:
            names = groups.setdefault(tuple(marks(layout, variant)), [])
            names.extend({variant.name} - set(names))
        for keys, names in groups.items():
            which = "all" if len(groups) == 1 else ", ".join(names)
            rows.append((str(number), f"`{layout.id}`", which, ", ".join(keys)))
    return table(rows)


def shipped(cards: str) -> str:
    """The models that come with the repository.

    Args:
        cards: folder of the model cards, relative to the document.
    """
    rows = [("model", "for pictures", "layout, variant", "scale", "parameters", "licence", "card")]
    return table([*rows, *(_shipped_row(model, cards) for model in shipped_models())])


def _shipped_row(model: ShippedModel, cards: str) -> tuple[str, ...]:
    parameters = paragon_arch.inspect(model.verified_path()).parameters
    name = f"`{model.path.stem}`" + " (default)" * model.default
    purpose = "compressed or noisy" if model.restores else "clean"
    what = f"{model.layout}, {model.variant}"
    return name, purpose, what, str(model.scale), f"{parameters:,}", model.license, f"[card]({cards}/{model.card})"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows as a Markdown table; the first is the header."""
    header, *body = rows
    lines = [f"| {' | '.join(row)} |" for row in (header, *body)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])
