"""Every form of a network that could be run, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from paragon_arch.networks.base import SRNetwork

from . import adapter
from .adapter import CPU_SHAPED, DTYPES, Precision
from .measuring import launches, smooth, synchronize, timed
from .schedule import Case, Values

PART = "speed"
MODELS = (
    (("v2-release", "realtime", 2), 1),
    (("v2-release", "stream", 2), 2),
    (("v1-magic", "s", 2), 2),
    (("v2-magic", "nano", 2), 3),
    (("v2-release", "photo", 2), 3),
)
"""Layout, variant and scale, and importance."""
SIZES = ((1080, 1920), (512, 512), (256, 256))
FORMS = (
    ("fused", 1),
    ("eager form", 1),
    ("CUDA graph", 1),
    ("fused, channels last", 2),
    ("eager form less CPU passes", 2),
    ("graph form", 3),
    ("compiled", 3),
    ("compiled, channels last", 3),
)
"""Names of forms, and importance."""
ON_CUDA = ("CUDA graph", "compiled", "compiled, channels last")


def cases(device: torch.device, *, tiny: bool) -> Iterator[Case]:
    """All of this part."""
    models = MODELS[:1] if tiny else MODELS
    sizes: tuple[tuple[int, int], ...] = ((32, 48),) if tiny else SIZES
    precisions: tuple[Precision, ...] = ("fp32",) if tiny else ("fp16", "fp32", "bf16")
    for what, model_rank in models:
        for place, size in enumerate(sizes):
            for precision in precisions:
                for form, form_rank in FORMS:
                    if form in ON_CUDA and device.type != "cuda":
                        continue
                    importance = model_rank + form_rank + place + (precision != "fp16")
                    name = f"{' '.join(map(str, what))}x, {size[1]} x {size[0]}, {precision}, {form}"
                    yield Case(PART, name, partial(one, what, size, precision, form, device), importance)


def one(
    what: tuple[str, str, int], size: tuple[int, int], precision: Precision, form: str, device: torch.device
) -> Values:
    """One form of one model at one size."""
    module = made(adapter.official(*what), form).to(device).to(DTYPES[precision])
    x = smooth(*size).to(device, DTYPES[precision])
    if form.endswith("channels last"):
        module, x = module.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)  # pyright: ignore
    if form.startswith("compiled"):
        module = torch.compile(module)  # pyright: ignore[reportAssignmentType, reportUnknownMemberType]
    with torch.inference_mode():
        call: Callable[[], object] = captured(module, x) if form == "CUDA graph" else partial(module, x)
        found: dict[str, Any] = timed(call, device)
        if device.type == "cuda":
            found["launches"] = launches(call)
    return {"model": " ".join(map(str, what)), "size": list(size), "precision": precision, "form": form, **found}


def made(network: SRNetwork, form: str) -> nn.Module:
    """The module of a form."""
    if form.startswith("fused"):
        return adapter.fused(network)
    if form == "eager form less CPU passes":
        return adapter.form(network, without=CPU_SHAPED)
    if form in ("graph form", "compiled", "compiled, channels last"):
        return adapter.form(network, target="graph")
    return adapter.form(network, without=CPU_SHAPED if form == "CUDA graph" else ())


def captured(module: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    """The whole network as one launch."""
    stream: Any = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            module(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        module(x)
    synchronize(x.device)
    return graph.replay
