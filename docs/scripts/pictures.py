"""The pictures of docs/architecture.md, drawn from the code's imports. Made by ``python -m docs.scripts.generate``."""

from __future__ import annotations

from .draw_graph import svg
from .import_graph import LIBRARIES, PROGRAMS, Edges, edges, inside, top

REPOSITORY = {
    "nodes": "nodes for ComfyUI",
    "paragon_chainner": "nodes and installer for chaiNNer",
    "deploy": "the command line paragonsr",
    "training": "training loop, recipes, losses",
    "benchmarks": "measurements of the documents",
    "paragon_engine": "runs models: tiles, backends, files, jobs",
    "paragon_arch": "opens models: checkpoints, layouts, networks",
}
ENGINE = {
    "paragon_engine": "public names",
    "release": "export, verify, release",
    "video": "videos, frame by frame",
    "jobs": "folders, shards, clusters",
    "benchmark": "every form and backend",
    "quantize": "INT8 and FP8",
    "doctor": "what a computer can do",
    "model_source": "opens a model for a job",
    "upscale": "one picture, size, alpha",
    "upscaler": "a model ready to run",
    "describe": "a model as text",
    "restoring": "how much to restore a picture",
    "subject": "its network, and what is known of it",
    "catalog": "the models that ship",
    "finite": "NaN and infinity",
    "tiling": "exact tiles, memory",
    "backends": "PyTorch, ONNX Runtime, ...",
    "inference": "networks rebuilt for speed",
    "onnx_export": "ONNX graphs",
    "pictures": "image files, colour, metadata",
    "progress": "progress, cancelling",
    "engines": "TensorRT engines, kept",
    "packages": "optional packages",
    "devices": "CPU, GPU",
    "metrics": "PSNR, SSIM",
    "turns": "timing against each other",
    "heap": "freed memory, given back",
}
ARCH = {
    "paragon_arch": "public names",
    "api": "load, save, fuse, inspect",
    "model": "a model without spandrel",
    "spandrel_support": "spandrel's Architecture classes",
    "loading": "checkpoint to network",
    "damage": "what a damaged file lacks",
    "copying": "private copies of networks",
    "building": "layout and values to network",
    "fusion": "fuses a copy and checks it",
    "blending": "between two trainings",
    "lineage": "values of other programs' blends",
    "inspection": "what was found, as data",
    "resolve": "values that files do not store",
    "probe": "measures the scale",
    "dead_leaves": "generated test pictures",
    "tracked": "flags of tracked kernels",
    "files": "safe reading, atomic writing",
    "layouts": "recognition, variants",
    "networks": "the nn.Modules",
    "errors": "the exception tree",
}


def graphs() -> dict[str, tuple[Edges, dict[str, str], str]]:
    """For each picture's file name: its graph, the words in its boxes, and its title."""
    engine, arch = ("paragon_engine",), ("paragon_arch",)
    return {
        "architecture.svg": (edges(PROGRAMS + LIBRARIES, top), REPOSITORY, "Imports between the packages"),
        "architecture-engine.svg": (edges(engine, inside(engine[0])), ENGINE, "Imports inside paragon_engine"),
        "architecture-arch.svg": (edges(arch, inside(arch[0])), ARCH, "Imports inside paragon_arch"),
    }


def pictures() -> dict[str, str]:
    """The SVG of each file name."""
    return {name: svg(*parts) for name, parts in graphs().items()}
