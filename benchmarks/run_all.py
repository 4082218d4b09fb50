"""Make docs/benchmarks.md, its plot and its data: ``python -m benchmarks.run_all``, in half an hour on two cores.

One run, all models. Weights are random (speed does not depend on them), of the official variants.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from paragon_arch.files.atomic import atomic_path
from paragon_arch.layouts import LAYOUTS
from paragon_arch.networks.base import SRNetwork
from paragon_engine.benchmark import Options, Report, as_json, benchmark, from_json, markdown, svg
from paragon_engine.progress import TerminalProgress

from .reference import reference_form

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT, PLOT, DATA = Path("docs/benchmarks.md"), Path("docs/images/benchmarks.svg"), Path("docs/benchmarks.json")

MODELS = (
    ("v2-release", "realtime", 2),
    ("v2-magic", "nano", 2),
    ("v2-magic-hr", "nano", 2),
    ("v1-magic", "tiny", 2),
    ("v1-magic", "tiny", 4),
    ("v2-release", "stream", 2),
    ("v2-release", "photo", 2),
    ("v2-release", "pro", 2),
    ("v2-dualpath-v6", "photo", 2),
)
"""Layout, variant and scale of what is measured."""

SLOW = ("photo", "pro")
"""Variants with window attention: many seconds a run at 256, so measured at this size instead:"""
SLOW_SIZE = 128


def build(layout_id: str, variant_name: str, scale: int) -> SRNetwork:
    """An official variant with random weights, LayerScale included, unfused."""
    layout = next(item for item in LAYOUTS if item.id == layout_id)
    variant = next(item for item in layout.variants if item.name == variant_name)
    options = {item.name: layout.default(item, dict(variant.shape)) for item in layout.unknowns}
    hyper = {**options, **variant.shape, "scale": scale}
    if variant.window_size is not None:
        hyper["window_size"] = variant.window_size
    torch.manual_seed(0)
    network = layout.network(**hyper)
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):  # starts near zero, where folding it would hide rounding
            torch.nn.init.uniform_(parameter, 0.1, 0.3)
    return network.eval().requires_grad_(False)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--budget", type=float, default=12.0, help="seconds for a model and size, at least")
    parser.add_argument("--only", metavar="LAYOUT", choices=sorted({m[0] for m in MODELS}), help="only this layout")
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--output", type=Path, default=ROOT, help="root under which docs/ is written")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sizes, progress = tuple(args.size or (256, 512)), TerminalProgress()
    reports: list[Report] = []
    for slow in (False, True):
        chosen = [m for m in MODELS if (m[1] in SLOW) == slow and args.only in (None, m[0])]
        if not chosen:
            continue
        networks = {f"{layout} {variant} x{scale}": build(layout, variant, scale) for layout, variant, scale in chosen}
        options = Options(sizes=(SLOW_SIZE,) if slow else sizes, runs=args.runs, budget=args.budget, passes=not slow)
        reports.append(benchmark(networks, options, reference=reference_form, progress=progress))
    progress.finish()
    report = reports[0]
    report.cases = [case for part in reports for case in part.cases]
    data = as_json(report)
    document, plot = page(data)
    for path, text in ((DATA, data), (PLOT, plot), (DOCUMENT, document)):
        write(args.output / path, text)


def page(data: str) -> tuple[str, str]:
    """The document and its plot, from what `DATA` holds."""
    report = from_json(data)
    return markdown(report, plot="images/benchmarks.svg", command="python -m benchmarks.run_all"), svg(report)


def write(path: Path, text: str) -> None:
    """Write a file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as temp:
        temp.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
