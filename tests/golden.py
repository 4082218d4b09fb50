"""Reading the golden data of the original networks (format: docs/layouts.md, section 11)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

NAMES = Path(__file__).with_name("golden_names.txt").read_text().split()
"""The golden files of generators, so that tests are listed by name even where the data is missing."""


@dataclass
class Golden:
    """One golden file."""

    name: str
    layout: str
    kwargs: dict[str, Any]
    scale: int
    alpha: float | None
    state: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """The original's unfused state dict."""
    fused: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Its fused state dict; empty where fusing changes nothing, or it was not stored."""
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Inputs and outputs."""

    @property
    def options(self) -> dict[str, Any]:
        """What a user would have to tell `paragon_arch.load` about this checkpoint."""
        options: dict[str, Any] = {"scale": self.scale}
        if self.alpha is not None:
            options["alpha"] = self.alpha
        if self.layout == "v2-v9a" and "photo" in self.name:
            options["window_size"] = 8  # the default of that one day; the constructor's argument was left out
        block: dict[str, Any] = self.kwargs.get("block_kwargs", {})
        window = self.kwargs.get("window_size", block.get("window_size"))
        if window is not None:
            options["window_size"] = window
        if "use_norm" in self.kwargs:
            options["use_norm"] = self.kwargs["use_norm"]
        if self.layout.startswith("v2-hybrid-attn-"):
            options["attention"] = self.layout.rsplit("-", 1)[1]
        return options

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """(input, unfused output) of every stored size."""
        numbers = ("", "2", "3", "4")
        return [
            (self.tensors[f"input{n}"], self.tensors[f"output{n}"])
            for n in numbers
            if f"input{n}" in self.tensors and f"output{n}" in self.tensors
        ]


def read(path: Path) -> Golden:
    """Read one file."""
    opened: Any = safe_open(path, "pt")  # carries no annotations
    with opened as file:
        meta: dict[str, str] = file.metadata()
        tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    alpha = meta.get("alpha")
    golden = Golden(
        name=path.stem,
        layout=meta["layout"],
        kwargs=json.loads(meta["kwargs"]),
        scale=int(meta["scale"]),
        alpha=None if alpha in (None, "None", "null", "") else float(alpha),
    )
    for key, tensor in tensors.items():
        prefix, _, rest = key.partition(".")
        if prefix == "state":
            golden.state[rest] = tensor
        elif prefix == "fused":
            golden.fused[rest] = tensor
        else:
            golden.tensors[key] = tensor
    return golden
