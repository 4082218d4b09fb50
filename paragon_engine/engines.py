"""TensorRT engines: built through the Python API where TensorRT is installed, else as exact commands.

TensorRT 11 knows strongly typed networks only: the graph's types are the engine's, `trtexec --fp16` is gone. TensorRT
10 is told to do the same. An engine runs on the kind of GPU, driver and TensorRT version that built it, and nowhere
else; a JSON file beside it says which.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from paragon_arch.errors import CheckpointNotFoundError, CorruptCheckpointError, InvalidOptionError, OutputError
from paragon_arch.files.atomic import atomic_path, make_folder
from paragon_arch.files.records import read_json

from .onnx_export import properties, read_graph
from .packages import installed, require, version
from .progress import log

INSTALL_HINT = "pip install tensorrt (NVIDIA GPU and driver needed), then run this command again"
WORKSPACE = 4 << 30
"""Bytes that a tactic may use."""


@dataclass(frozen=True)
class Profile:
    """The sizes that an engine accepts, each (height, width); it is fastest at ``opt``."""

    minimum: tuple[int, int] = (64, 64)
    opt: tuple[int, int] = (720, 1280)
    maximum: tuple[int, int] = (1080, 1920)
    batch: int = 1
    """Largest batch; the smallest is 1."""

    def __post_init__(self) -> None:
        """Check the order.

        Raises:
            InvalidOptionError: a size is above the next.
        """
        for axis in (0, 1):
            if not 1 <= self.minimum[axis] <= self.opt[axis] <= self.maximum[axis]:
                raise InvalidOptionError("the sizes of an engine must grow: give --min <= --opt <= --max")

    def shapes(self, channels: int) -> tuple[tuple[int, ...], ...]:
        """Minimum, optimum and maximum as (N, C, H, W)."""
        batches = (1, 1, self.batch)
        sizes = (self.minimum, self.opt, self.maximum)
        return tuple((n, channels, *size) for n, size in zip(batches, sizes, strict=True))


@dataclass(frozen=True)
class EngineKey:
    """What an engine depends on; another value of any of these needs another engine."""

    model_sha256: str
    precision: str
    profile: Profile
    gpu: str
    compute_capability: str
    driver: str
    tensorrt: str
    system: str

    @property
    def short(self) -> str:
        """Twelve digits for a file name."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class GraphInputs:
    """What the commands and profiles need to know of a graph."""

    channels: dict[str, int]
    """Of each input."""
    precision: str
    dynamic: bool

    @staticmethod
    def of(graph: bytes) -> GraphInputs:
        """Read a serialised model."""
        model = require("onnx", "reading an ONNX file").load_from_string(graph)
        dims = {item.name: item.type.tensor_type.shape.dim for item in model.graph.input}
        if any(len(dim) != 4 for dim in dims.values()):
            raise CorruptCheckpointError("an input of the graph is not an image (N, C, H, W): not an upscaler")
        precision = properties(graph).get("paragonsr.precision", "fp32")
        opened = any(dim[2].dim_param for dim in dims.values())
        return GraphInputs({name: dim[1].dim_value for name, dim in dims.items()}, precision, opened)


def trtexec_commands(onnx_name: str, graph: bytes, profile: Profile | None = None) -> dict[str, str]:
    """The exact command lines by generation of TensorRT, "10" and "11".

    Args:
        onnx_name: the file as the command shall name it.
        graph: its content.
        profile: None for the default; a graph of a fixed size takes none.
    """
    inputs, profile = GraphInputs.of(graph), profile or Profile()
    stem = onnx_name.removesuffix(".onnx")
    parts = ["trtexec", f"--onnx={onnx_name}", f"--saveEngine={stem}.engine"]
    if inputs.dynamic:
        for index, option in enumerate(("minShapes", "optShapes", "maxShapes")):
            shapes = (f"{name}:{_shape(profile.shapes(count)[index])}" for name, count in inputs.channels.items())
            parts.append(f"--{option}={','.join(shapes)}")
    # quoted, because names of inputs come from the file and the line goes into a shell
    return {"10": shlex.join([*parts, "--stronglyTyped"]), "11": shlex.join(parts)}


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def tensorrt_usable() -> str | None:
    """None where engines can be built here, else what is missing."""
    if not installed("tensorrt"):
        return f"TensorRT is not installed: {INSTALL_HINT}"
    return None if torch.cuda.is_available() else "no NVIDIA GPU is usable here (torch.cuda.is_available() is false)"


def build_engine(
    path: Path, folder: Path, profile: Profile | None = None, *, rebuild: bool = False
) -> tuple[Path, bool]:
    """Build the engine of an ONNX file for this machine, or find it in the cache.

    Args:
        path: ONNX file.
        folder: the cache, made if it is not there; gets ``<stem>_<key>.engine`` and the same name with ``.json``.
        profile: sizes; None for the default.
        rebuild: build it even if it is there.

    Returns:
        The engine, and whether it was built now.

    Raises:
        InvalidOptionError: TensorRT or a GPU is missing.
        OutputError: TensorRT refuses the graph, or the engine cannot be written.
    """
    return cached_engine(read_graph(path), folder, profile or Profile(), name=path.stem, rebuild=rebuild)


def cached_engine(
    graph: bytes, folder: Path, profile: Profile, *, name: str = "model", rebuild: bool = False
) -> tuple[Path, bool]:
    """`build_engine` of a serialised graph; ``name`` is the stem of the file that it came from, or would have."""
    missing = tensorrt_usable()
    if missing is not None:
        raise InvalidOptionError(missing)
    key = machine_key(graph, profile)
    target = folder / f"{name}_{key.short}.engine"
    if not rebuild and target.is_file() and target.with_suffix(".json").is_file():
        check_engine(target)
        return target, False
    make_folder(folder)  # before the minutes of building
    plan = _build(graph, profile)
    with atomic_path(target, overwrite=True) as temp:
        temp.write_bytes(plan)
    sidecar = asdict(key) | {"engine_sha256": hashlib.sha256(plan).hexdigest(), "source": f"{name}.onnx"}
    with atomic_path(target.with_suffix(".json"), overwrite=True) as temp:
        temp.write_text(json.dumps(sidecar, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return target, True


def machine_key(graph: bytes, profile: Profile) -> EngineKey:
    """The key of a graph's engine on this machine."""
    return EngineKey(
        model_sha256=hashlib.sha256(graph).hexdigest(),
        precision=GraphInputs.of(graph).precision,
        profile=profile,
        **machine(),
    )


def check_engine(path: Path, here: EngineKey | None = None) -> None:
    """Refuse an engine that was made elsewhere, before TensorRT fails on it with a riddle.

    Args:
        path: an ``.engine`` file with its ``.json`` beside it.
        here: this machine, as `machine_key` describes it; None compares with what can be found out here.

    Raises:
        CheckpointNotFoundError: the engine or its description is missing.
        CorruptCheckpointError: it is damaged, or was made for another machine; the message says what differs.
    """
    sidecar = path.with_suffix(".json")
    for file in (path, sidecar):
        if not file.is_file():
            raise CheckpointNotFoundError(f"{file}: no such file; build the engine again from its ONNX file")
    try:
        facts = read_json(sidecar)
        digest = facts["engine_sha256"]
    except (InvalidOptionError, KeyError) as error:
        raise CorruptCheckpointError(f"{sidecar}: damaged; build the engine again") from error
    if digest != hashlib.sha256(path.read_bytes()).hexdigest():
        raise CorruptCheckpointError(
            f"{path}: damaged, or not the engine that {sidecar.name} describes; build it again"
        )
    current = machine() if here is None else asdict(here)
    wrong = [name for name in machine() if facts.get(name) != current[name]]

    if wrong:
        differences = ", ".join(f"{name} {facts.get(name)} there, {current[name]} here" for name in wrong)
        raise CorruptCheckpointError(
            f"{path}: made elsewhere ({differences}); build it here from {facts.get('source')}"
        )


def machine() -> dict[str, str]:
    """Those fields of an `EngineKey` that describe where an engine runs; "none" for what is not here."""
    gpu, capability = "none", "none"
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name(0)
        capability = ".".join(map(str, torch.cuda.get_device_capability(0)))
    return {
        "gpu": gpu,
        "compute_capability": capability,
        "driver": _driver(),
        "tensorrt": version("tensorrt") if installed("tensorrt") else "none",
        "system": platform.system(),
    }


def _driver() -> str:
    """Version of NVIDIA's driver, as the kernel module tells it; "unknown" elsewhere than on Linux."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").split()
    except OSError:
        return "unknown"
    return next((word for word in words if word.count(".") >= 1 and word.replace(".", "").isdigit()), "unknown")


def _build(graph: bytes, profile: Profile) -> bytes:
    trt = require("tensorrt", "building an engine")
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise OutputError(f"TensorRT cannot read the graph: {reasons[:400]}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    inputs = GraphInputs.of(graph)
    if inputs.dynamic:
        optimisation = builder.create_optimization_profile()
        for name, channels in inputs.channels.items():
            optimisation.set_shape(name, *profile.shapes(channels))
        config.add_optimization_profile(optimisation)
    log.info("TensorRT %s builds an engine; this takes minutes", trt.__version__)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise OutputError("TensorRT could not build the engine; its messages above say why (often: too little memory)")
    return bytes(plan)


def _network_flags(trt: Any) -> int:
    """Strong typing, which TensorRT 10 must be told and TensorRT 11 knows no alternative to."""
    if int(str(trt.__version__).split(".")[0]) >= 11:
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
