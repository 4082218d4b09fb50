"""The parsers that are fuzzed, each as a function of the bytes of a file, and what each starts from."""

from __future__ import annotations

import contextlib
import io
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from paragon_arch.errors import ParagonError
from paragon_arch.files import safetensors_file, torch_file
from paragon_arch.files.containers import select
from paragon_arch.files.pickle_reader import StoredTensor, UnreadableTensor, interpret, pickle_budget
from paragon_arch.loading import open_checkpoint
from paragon_engine.backends.choose import read_cache, write_cache
from paragon_engine.benchmark.report import from_json
from paragon_engine.onnx_export.reading import read_graph
from paragon_engine.pictures import read_image
from paragon_engine.pictures.colour import conversion_of
from paragon_engine.release.run import finished
from paragon_engine.release.settings import read_manifest
from paragon_engine.release.staging import Staging
from tests.hostile.generated import KINDS
from tests.hostile.hostile_files import FILES
from tests.hostile.hostile_graphs import GRAPHS, write, write_sound
from tests.hostile.hostile_pickles import PICKLES, Case
from tests.hostile.hostile_pictures import noise
from tests.measuring import ROOT
from training.recipe_file import read_recipe

Seeds = Callable[[Path], Iterator[bytes]]
"""The corpus to start from; the folder is for scratch."""


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        parse: raises a `ParagonError` about bytes that it refuses, and nothing else.
        seeds: what it starts from.
    """

    parse: Callable[[bytes], object]
    seeds: Seeds


def _is_stored(value: Any) -> bool:
    return isinstance(value, StoredTensor | UnreadableTensor)


def _pickle(data: bytes) -> None:
    tree, _ = interpret(io.BytesIO(data), pickle_budget(len(data)))
    if isinstance(tree, dict):
        select(cast("dict[Any, Any]", tree), _is_stored)


def _torch(data: bytes) -> None:
    opener = torch_file.open_zip if data.startswith(b"PK") else torch_file.open_legacy
    file = opener(io.BytesIO(data), len(data))
    if isinstance(file.tree, dict):
        stored, _ = select(cast("dict[Any, Any]", file.tree), _is_stored)
        torch_file.load_tensors(file, {k: v for k, v in stored.items() if isinstance(v, StoredTensor)}, len(data))


def _safetensors(data: bytes) -> None:
    tensors, _ = safetensors_file.read(io.BytesIO(data), len(data))
    open_checkpoint(tensors, {"scale": 2, "alpha": 0.0}, on_ambiguous="guess")


def _by_path(suffix: str, parse: Callable[[Path], object]) -> Callable[[bytes], object]:
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))

    def written(data: bytes) -> object:
        path = folder / f"input{suffix}"
        path.write_bytes(data)
        return parse(path)

    return written


def _cases(wanted: Callable[[bytes], bool]) -> Seeds:
    def seeds(folder: Path) -> Iterator[bytes]:
        cases: tuple[Case, ...] = (*PICKLES, *FILES)
        for case in cases:
            yield from filter(wanted, [case.make(folder / "marker")])
        for kind, make in KINDS.items():
            for index in range(10):
                yield from filter(wanted, [make(random.Random(f"{kind} {index}"), folder / "marker")])

    return seeds


def _pickles(folder: Path) -> Iterator[bytes]:
    """Of zip archives, which checksums would hide from the fuzzer."""
    for data in _cases(lambda data: data.startswith(b"PK") and len(data) < 2**16)(folder):
        with contextlib.suppress(ParagonError, ValueError, IndexError):
            begin = data.index(b"data.pkl") + len(b"data.pkl")
            yield data[begin : data.index(b"PK", begin)]


def _graphs(folder: Path) -> Iterator[bytes]:
    yield write_sound(folder).read_bytes()
    for graph in GRAPHS:
        path = folder / graph.name
        path.mkdir()
        with contextlib.suppress(OSError):
            yield write(graph, path).read_bytes()


def _pictures(_: Path) -> Iterator[bytes]:
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        yield noise(kind)
        if kind != "BMP":
            yield noise(kind, icc_profile=_profile(), exif=_exif())


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(cast("Any", ImageCms.createProfile("sRGB"))).tobytes()


def _exif() -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "description"
    return exif.tobytes()


def _profiles(_: Path) -> Iterator[bytes]:
    yield _profile()


def _records(path: Path) -> None:
    """Everything of ours that reads JSON or TOML, of the same bytes."""
    folder = path.parent
    data = path.read_bytes()
    (folder / ".out.release.json").write_bytes(data)
    (folder / "manifest.json").write_bytes(data)
    write_cache(folder / "cache.json", read_cache(path))
    finished(folder, "0" * 64)
    for parse in (
        lambda: read_manifest(path, folder / "out"),
        lambda: read_recipe(path),
        lambda: from_json(data.decode("utf-8", "replace")),
        lambda: Staging(folder / "out", "key", "stem").check(),
    ):
        with contextlib.suppress(ParagonError):
            parse()


def _examples(_: Path) -> Iterator[bytes]:
    yield b'[defaults]\nauthor = "a"\n[[model]]\ncheckpoint = "2x.safetensors"\nscale = 2\nprofile = {min = [64, 64]}\n'
    yield b'{"key": "k", "stem": "s", "previous": [1, 2], "steps": {"fuse": {"files": {"a": "b"}, "result": {}}}}'
    yield b'{"key": "k", "files": {"a": {"sha256": "b", "bytes": 3}}, "failed": {}}'
    yield b'{"x": {"backend": "torch", "seconds": {"torch": 0.5}, "at": 1.5}}'
    yield (ROOT / "docs/benchmarks.json").read_bytes()[:20_000]
    for recipe in (ROOT / "training").rglob("*.toml"):
        yield recipe.read_bytes()


def _small(data: bytes) -> bool:
    return len(data) < 2**16


TARGETS: dict[str, Target] = {
    "pickle": Target(_pickle, _pickles),
    "torch": Target(_torch, _cases(lambda data: data[:1] in (b"P", b"\x80") and _small(data))),
    "safetensors": Target(_safetensors, _cases(lambda data: data[8:9] == b"{" and _small(data))),
    "onnx": Target(_by_path(".onnx", read_graph), _graphs),
    "profile": Target(conversion_of, _profiles),
    "records": Target(_by_path(".toml", _records), _examples),
    "picture": Target(_by_path(".png", lambda path: read_image(path, max_pixels=2**20)), _pictures),
}
torch.set_num_threads(1)
