"""Options of the commands that run a model, and the model that they ask for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from paragon_engine.catalog import find_model

from .command import add_overrides, overrides, positive_float, positive_int

if TYPE_CHECKING:
    from paragon_engine.model_source import ModelSource


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and what computes it."""
    parser.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda, cuda:1, mps, ...")
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="M", help="checkpoint, or name of a shipped model (default: the shipped one)")
    model.add_argument(
        "--backend",
        default="torch",
        metavar="B",
        help="what computes: torch (default), onnxruntime, openvino, ... (benchmark --list shows all), or auto: "
        "the fastest here, measured for some seconds the first time and remembered",
    )
    model.add_argument(
        "--precision",
        choices=("auto", "fp32", "fp16", "bf16"),
        default="auto",
        help="auto (default): half precision on CUDA where the layout holds it, else fp32; "
        "a tile that overflows is redone more precisely",
    )
    add_overrides(parser)


def add_size(parser: argparse.ArgumentParser) -> None:
    """Size of the output."""
    size = parser.add_argument_group(
        "size of the output", "The model's own result is brought to it by an antialiased Lanczos filter."
    )
    size.add_argument(
        "--outscale",
        type=positive_float,
        metavar="F",
        help="relative to the input, e.g. 1.5 (default: the model's scale)",
    )
    size.add_argument("--width", type=positive_int, metavar="W", help="in pixels; alone, the proportions are kept")
    size.add_argument("--height", type=positive_int, metavar="H", help="in pixels; alone, the proportions are kept")
    size.add_argument("--fit", action="store_true", help="--width and --height are a box to fit into")
    size.add_argument(
        "--once", action="store_true", help="apply the model once; else it is applied again where the size needs it"
    )


def model_source(args: argparse.Namespace) -> ModelSource:
    """What the options of `add_model` ask for.

    Raises:
        CheckpointNotFoundError: there is no such model.
    """
    from paragon_engine.model_source import ModelSource

    return ModelSource(find_model(args.model), overrides(args), args.device, args.backend, args.precision)
