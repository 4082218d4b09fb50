"""Finding the weights in what training frameworks save around them.

The order of choice, at every level of nesting, is that of `WRAPPERS`: averaged weights (EMA) win over plain ones.
Below the last wrapper every entry must be a tensor, `n_averaged` of ``torch.optim.swa_utils`` excepted. Then
``_orig_mod`` (``torch.compile``) is taken out of keys wherever it stands, and `PREFIXES` are taken off as long as
all keys have the same one. Where a generator's keys stand beside those of a discriminator or a loss, or averaged
weights beside plain ones, those of the first of `PARTS` are taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from ..errors import CorruptCheckpointError
from .budget import checked_count, shown
from .hints import EXTRA_PREFIXES

T = TypeVar("T")

WRAPPERS = (
    "params_ema",
    "params-ema",
    "net_g_ema",
    "netG_ema",
    "g_ema",
    "generator_ema",
    "model_ema",
    "ema_model",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema_state_dict",
    "averaged_model",
    "ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "net_g",
    "netG",
    "generator",
    "weights",
)
"""Names of dictionaries around the weights, the preferred first."""
_AVERAGED_PARTS = (
    "params_ema.",
    "net_g_ema.",
    "netG_ema.",
    "g_ema.",
    "generator_ema.",
    "model_ema.",
    "ema_model.",
    "ema.",
)
_PLAIN_PARTS = ("net_g.", "netG.", "generator.", "online_model.", "model.", "net.")
PARTS = _AVERAGED_PARTS + _PLAIN_PARTS
"""Beginnings of a generator's keys among those of other networks, the preferred first."""
PREFIXES = ("module.", *PARTS)
"""Prefixes that some frameworks put before every key."""
_STRANGERS = (
    "net_d",
    "netD",
    "discriminator.",
    "d_",
    "cri_",
    "criterion",
    "loss",
    "perceptual",
    "vgg",
    "lpips",
    "metric",
    "net_d_ema",
    "gan_",
    "train_",
    "val_",
    "test_",
)
"""Beginnings of keys of networks that are no generator: discriminators, losses, metrics."""
_COUNTS = ("initted", "step", "num_updates", "decay")
"""What a class that averages weights counts beside them."""
_COMPILED = "_orig_mod"
_AVERAGE_COUNT = "n_averaged"
_MAX_NESTING = 4
_MAX_PREFIXES = 4


def select(mapping: Mapping[Any, Any], is_tensor: Callable[[Any], bool]) -> tuple[dict[str, Any], str]:
    """The weights in a checkpoint under their canonical keys, and what was unwrapped around them.

    Args:
        mapping: a checkpoint of any framework, or a bare state dict.
        is_tensor: tells weights from everything else.

    Returns:
        The weights (hint tensors included, under ``paragonsr_hint.<name>``), and the names of wrappers and prefixes,
        joined by dots, "" for a bare state dict: ``"params_ema"``, ``"state_dict.net_g"``.

    Raises:
        CorruptCheckpointError: there are no weights, an entry among them is not a tensor, or two keys become equal.
    """
    names: list[str] = []
    search = _Search(is_tensor)
    while len(names) < _MAX_NESTING and (name := search.wrapper(mapping, _MAX_NESTING)) is not None:
        mapping = mapping[name]
        names.append(name)
    weights = _rename(_part(_tensors(mapping, is_tensor)), _without_compiled)
    for _ in range(_MAX_PREFIXES):
        if (prefix := _common_prefix(weights)) is None:
            break
        weights = _rename(weights, _remover(prefix))
        names.append(prefix[:-1])
    return weights, ".".join(names)


class _Search:
    """Looks for weights, into each dictionary once at each depth: a file may hold one in itself many times."""

    def __init__(self, is_tensor: Callable[[Any], bool]) -> None:
        self._is_tensor = is_tensor
        self._known: dict[tuple[int, int], bool] = {}
        self._alive: list[object] = []  # of which the ids are, so that no other object gets one

    def wrapper(self, mapping: Mapping[Any, Any], depth: int) -> str | None:
        """The preferred name of a dictionary with weights in or below it."""
        for name in WRAPPERS:
            inner = mapping.get(name)
            if isinstance(inner, Mapping) and self._has_weights(cast("Mapping[Any, Any]", inner), depth):
                return name
        return None

    def _has_weights(self, mapping: Mapping[Any, Any], depth: int) -> bool:
        place = (id(mapping), depth)
        if place not in self._known:
            self._alive.append(mapping)
            bare = any(self._is_tensor(value) for value in mapping.values())
            self._known[place] = bare or (depth > 0 and self.wrapper(mapping, depth - 1) is not None)
        return self._known[place]


def _tensors(mapping: Mapping[Any, Any], is_tensor: Callable[[Any], bool]) -> dict[str, Any]:
    if not any(is_tensor(value) for value in mapping.values()):
        found = ", ".join(shown(key, 40) for key in itertools.islice(mapping, 5)) or "nothing"
        raise CorruptCheckpointError(f"no weights found; it holds {found}: give a checkpoint of a generator")
    checked_count(len(mapping))
    tensors: dict[str, Any] = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise CorruptCheckpointError(f"a weight's key is {shown(key)}, not text: save only the state_dict")
        if key.rpartition(".")[2] == _AVERAGE_COUNT:
            continue
        if not is_tensor(value):
            raise CorruptCheckpointError(
                f"the entry {shown(key)} among the weights is of type {type(value).__name__}, not a tensor: "
                "save only the state_dict"
            )
        tensors[key] = value
    return tensors


def _part(weights: dict[str, T]) -> dict[str, T]:
    """The generator's weights where those of other networks, which are known by their names, stand beside them."""
    keys = [key for key in weights if not key.startswith(EXTRA_PREFIXES)]
    for prefix in PARTS:
        inside = {key for key in keys if key.startswith(prefix)}
        others = {key for key in keys if key not in inside}
        if inside and all(key.startswith(PARTS + _STRANGERS) or key in _COUNTS for key in others):
            return {key: value for key, value in weights.items() if key in inside or key.startswith(EXTRA_PREFIXES)}
    return weights


def _without_compiled(key: str) -> str:
    return ".".join(part for part in key.split(".") if part != _COMPILED) if _COMPILED in key else key


def _common_prefix(weights: Mapping[str, Any]) -> str | None:
    keys = [key for key in weights if not key.startswith(EXTRA_PREFIXES)]
    for prefix in PREFIXES:
        if keys and all(key.startswith(prefix) and len(key) > len(prefix) for key in keys):
            return prefix
    return None


def _remover(prefix: str) -> Callable[[str], str]:
    return lambda key: key.removeprefix(prefix)


def _rename(weights: Mapping[str, T], rename: Callable[[str], str]) -> dict[str, T]:
    renamed: dict[str, T] = {}
    for key, value in weights.items():
        new = rename(key)
        if new in renamed:
            raise CorruptCheckpointError(f"two of its keys become {shown(new)} without their prefixes: save it again")
        renamed[new] = value
    return renamed
