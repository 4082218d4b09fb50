"""Make the tables of docs/tiling.md: ``python -m benchmarks.tiling memory speed large``.

Memory: what `paragon_engine.tiling.memory` predicts against the process's own high-water mark, untiled and in exact
tiles, every layout. Speed: exact tiles against the whole image, in turns. Large: peak of a 4096 x 4096 input.
Weights are random, and networks have few blocks where more would only repeat them: neither changes a ratio.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import paragon_arch
from docs.scripts.blocks import with_block
from paragon_arch.files.atomic import atomic_path
from paragon_arch.layouts import LAYOUTS, Layout
from paragon_engine import Upscaler
from paragon_engine.benchmark.memory import peak_bytes
from paragon_engine.tiling import upscale_tensor
from paragon_engine.tiling.plan import can_tile_exactly, streaming_need, untiled_need
from paragon_engine.turns import Turns

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "tiling.md"
CPU = torch.device("cpu")
MIB = 2**20
WINDOW = 16
"""Side of the attention windows, for layouts that do not store it."""
PRESETS: dict[str, tuple[dict[str, Any], ...]] = {
    "v2-ultimate": ({"num_feat": 16, "num_groups": 1, "num_blocks": 51},),
    "v2-release": ({}, {"variant": "photo", "num_feat": 64}, {"variant": "pro", "num_feat": 64}),
    "v2-dualpath-v6": ({}, {"block": "paragon", "num_feat": 32, "band": 11, "window_size": WINDOW}),
    "v2-dualpath-v8": ({}, {"block": "paragon", "num_feat": 32, "band": 11, "window_size": WINDOW}),
    "v2-hybrid-attn": ({"attention": "window"},),
}
"""What the memory table changes in a layout's first variant; one line for each entry."""
MEMORY_SIZE, MEMORY_TILE = 768, 384
SPEED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("v2-release", "realtime", {}),
    ("v2-release", "stream", {}),
    ("v2-magic", "nano", {}),
    ("v1-magic", "tiny", {"num_groups": 1}),
    ("v2-release", "photo", {"num_feat": 32, "num_groups": 1, "num_blocks": 2}),
)
"""Layout, variant and what is changed in it."""
SPEED_SIZES, SPEED_TILES = (512, 1024), (128, 256, 512)
LARGE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("v2-release", "realtime", {}),
    ("v1-magic", "nano", {"num_groups": 1, "num_blocks": 1}),
)
LARGE_SIZE = 4096


def build(layout: Layout, shape: dict[str, Any]) -> Upscaler:
    """A x2 model with random weights, run as `paragonsr upscale` runs it."""
    unknown = {item.name: layout.default(item, shape) for item in layout.unknowns}
    hyper = {**unknown, **shape, "scale": 2}
    if hyper.get("variant") in ("photo", "pro") and hyper.get("window_size") is None:
        hyper["window_size"] = WINDOW
    torch.manual_seed(0)
    state = layout.network(**hyper).state_dict()
    windowed = hyper.get("variant") in ("photo", "pro") or hyper.get("block") == "paragon"
    needed = ("scale", "window_size") if windowed else ("scale",)
    given: dict[str, Any] = {name: hyper[name] for name in needed if name in unknown}
    return Upscaler(paragon_arch.load(state, **given), device="cpu")


def find(layout_id: str, variant_name: str | None = None) -> tuple[Layout, dict[str, Any]]:
    """A layout, and the hyper-parameters of one of its variants (the first one's if none is named)."""
    layout = next(item for item in LAYOUTS if item.id == layout_id)
    variant = next(item for item in layout.variants if variant_name in (None, item.name))
    return layout, dict(variant.shape)


def memory_subjects() -> Iterator[tuple[str, Upscaler]]:
    """Every layout, two blocks deep."""
    for item in LAYOUTS:
        for changes in PRESETS.get(item.id, ({},)):
            layout, shape = find(item.id)
            shape |= {"num_groups": 1, "num_blocks": min(2, shape["num_blocks"]), **changes}
            label = changes.get("variant") or changes.get("block") or changes.get("attention")
            yield f"{layout.id} {label or ''}".strip(), build(layout, shape)


def memory_table(only: str) -> str:
    """Predicted and measured peaks in MiB."""
    x = torch.rand(1, 3, MEMORY_SIZE, MEMORY_SIZE)
    lines = [
        "| layout | untiled: predicted | measured | ratio | tiled: predicted | measured | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, model in memory_subjects():
        if only not in name:
            continue
        out = x.nbytes * model.scale**2
        predicted = [untiled_need(model, tuple(x.shape)) or 0]
        tiles = [0]
        if can_tile_exactly(model, x):
            need = streaming_need(model, x, MEMORY_TILE)
            predicted.append(need.total + out)
            tiles.append(MEMORY_TILE)
        lines.append(_memory_line(name, predicted, [measured_apart(model, x, tile) for tile in tiles]))
        print(lines[-1], flush=True)
    return "\n".join(lines)


def measured(model: Upscaler, x: Tensor, tile: int) -> int:
    """Bytes at the peak of a run; the second one, because the first also loads libraries and makes kernels."""
    upscale_tensor(model, x[..., :64, :64], tile=0)
    found = peak_bytes(lambda: upscale_tensor(model, x, tile=tile), CPU)
    if found is None:
        raise SystemExit("this system does not say how much memory a process has used")
    return found


def measured_apart(model: Upscaler, x: Tensor, tile: int) -> int:
    """`measured` in a process of its own, which has no memory of other runs to use again."""
    answer, question = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(question, str(measured(model, x, tile)).encode())
        finally:
            os._exit(0)
    os.close(question)
    with os.fdopen(answer) as reader:
        found = reader.read()
    os.waitpid(child, 0)
    if not found:
        raise SystemExit("the run was killed: is there too little memory?")
    return int(found)


def _memory_line(name: str, predicted: Sequence[int], found: Sequence[int]) -> str:
    pairs = [f"{p / MIB:.0f} | {m / MIB:.0f} | {p / m:.2f}" for p, m in zip(predicted, found, strict=True)]
    if len(pairs) == 1:
        pairs.append("untiled only | | ")
    return f"| {name} | {' | '.join(pairs)} |"


def speed_table(only: str) -> str:
    """Seconds of an untiled run, and the ratio of exact tiles to it."""
    heads = " | ".join(f"tiles of {tile}" for tile in SPEED_TILES)
    lines = [f"| model | input | untiled | {heads} |", f"|---|---|---|{'---|' * len(SPEED_TILES)}"]
    for layout_id, variant, changes in SPEED:
        if only not in f"{layout_id} {variant}":
            continue
        layout, shape = find(layout_id, variant)
        model = build(layout, {**shape, **changes})
        for size in SPEED_SIZES:
            x = torch.rand(1, 3, size, size)
            times = _medians({tile: _call(model, x, tile) for tile in (0, *(t for t in SPEED_TILES if t < size))})
            ratios = [f"{each / times[0]:.2f}" for each in times[1:]] + ["-"] * (1 + len(SPEED_TILES) - len(times))
            lines.append(
                f"| {layout_id} {variant}{'*' if changes else ''} | {size} | {times[0]:.2f} s | {' | '.join(ratios)} |"
            )
            print(lines[-1], flush=True)
    return "\n".join(lines)


def _call(model: Upscaler, x: Tensor, tile: int) -> Callable[[], object]:
    return lambda: upscale_tensor(model, x, tile=tile)


def _medians(calls: Mapping[int, Callable[[], object]], rounds: int = 3) -> list[float]:
    """Median seconds of each call."""
    turns = Turns(calls, CPU)
    for _ in range(rounds):
        turns.take()
    return list(turns.medians().values())


def large_table(only: str) -> str:
    """Peak of a large input in exact tiles, beside what it would need untiled."""
    lines = [
        "| model | untiled, predicted | exact tiles, predicted | of it maps between stages | measured | of untiled |",
        "|---|---|---|---|---|---|",
    ]
    x = torch.rand(1, 3, LARGE_SIZE, LARGE_SIZE)
    for layout_id, variant, changes in LARGE:
        if only not in f"{layout_id} {variant}":
            continue
        layout, shape = find(layout_id, variant)
        model = build(layout, {**shape, **changes})
        untiled = untiled_need(model, tuple(x.shape)) or 0
        need = streaming_need(model, x, 512)
        predicted, found = need.total + x.nbytes * model.scale**2, measured(model, x, 512)
        gib = [f"{value / 2**30:.2f} GiB" for value in (untiled, predicted, need.maps, found)]
        name = f"{layout_id} {variant}{'*' if changes else ''}"
        lines.append(f"| {name} | {' | '.join(gib)} | {found / untiled:.0%} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


TABLES: dict[str, Callable[[str], str]] = {"memory": memory_table, "speed": speed_table, "large": large_table}


def main() -> None:
    """Measure what was asked for, and put it into the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", choices=tuple(TABLES))
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this; only printed")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.tables:
        table = TABLES[name](args.only)
        if not args.only:
            put(name, table)


def put(name: str, table: str) -> None:
    """Replace the table between the document's markers of this name."""
    text = DOCUMENT.read_text(encoding="utf-8")
    with atomic_path(DOCUMENT, overwrite=True) as temp:
        temp.write_text(with_block(text, name, table), encoding="utf-8")


if __name__ == "__main__":
    main()
