"""Asking the computer. Whatever cannot be asked is left out; nothing here raises."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import paragon_arch
from paragon_arch.errors import ParagonError

from ..catalog import shipped_models
from .facts import Backend, Card, Device, Facts, Hook, Program

T = TypeVar("T")

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "spandrel",
    "safetensors",
    "av",
    "onnx",
    "onnxslim",
    "openvino",
    "tensorrt",
)
"""Distributions whose versions matter; those of ONNX Runtime have many names."""
_IMPORTED = ("numpy", "PIL", "torch", "safetensors", "spandrel", "av", "onnxruntime")
"""Modules that are tried."""
_LISTING = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def collect(programs: tuple[Program, ...] = ()) -> Facts:
    """Everything but the self-test.

    Args:
        programs: further ones that the caller has found.
    """
    broken = dict(broken_modules())
    torch: Any = import_module("torch") if find_spec("torch") and "torch" not in broken else None
    return Facts(
        ours=paragon_arch.__version__,
        python=sys.version_info[:3],
        executable=sys.executable,
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        packages={name: distribution_version(name) for name in PACKAGES},
        broken=broken,
        torch_build="" if torch is None else torch_build(torch),
        cards=nvidia_cards(),
        runtimes=runtimes(metadata.packages_distributions()),
        devices=() if torch is None else _unless_broken(lambda: tuple(devices(torch))) or (),
        backends=() if torch is None else _unless_broken(lambda: tuple(backends())) or (),
        encoders=_unless_broken(encoders) or {},
        temporary=temporary(),
        programs=(*comfyui_places(os.environ, Path.home()), *programs),
        hook=hook(),
        damaged=tuple(damaged_models()),
    )


def _unless_broken(ask: Callable[[], T]) -> T | None:
    """An answer; None where a package that it needs is missing or damaged, which `broken_modules` tells."""
    try:
        return ask()
    except (ImportError, OSError, RuntimeError):
        return None


def distribution_version(name: str) -> str | None:
    """Version of an installed distribution; None without it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def broken_modules(load: Callable[[str], object] = import_module) -> Iterator[tuple[str, str]]:
    """Modules that are there but fail: a library of another version, a missing DLL."""
    for name in _IMPORTED:
        if find_spec(name) is None:
            continue
        try:
            load(name)
        except Exception as error:  # native libraries fail in many ways
            yield name, " ".join(f"{type(error).__name__}: {error}".split())[:300]


def torch_build(torch: Any) -> str:
    """What this PyTorch was built for."""
    if getattr(torch.version, "hip", None):
        return f"rocm {torch.version.hip}"
    if torch.version.cuda:
        return f"cuda {torch.version.cuda}"
    if getattr(torch.version, "xpu", None):
        return f"xpu {torch.version.xpu}"
    return "mps" if torch.backends.mps.is_built() else "cpu"


def nvidia_cards(run: Callable[..., Any] = subprocess.run) -> tuple[Card, ...]:
    """NVIDIA's cards, whatever PyTorch thinks of them."""
    try:
        done = run(_LISTING, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ()
    if done.returncode:
        return ()
    rows = [line.rpartition(",") for line in done.stdout.splitlines() if "," in line]
    return tuple(Card(name.strip(), driver.strip()) for name, _, driver in rows)


def runtimes(providers: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Every distribution that brings a module `onnxruntime`, from the distributions of each module."""
    return tuple(sorted(set(providers.get("onnxruntime", []))))


def devices(torch: Any) -> Iterator[Device]:
    """The CPU and what PyTorch finds beside it."""
    from ..backends.choose import processor

    yield Device("cpu", processor(), _free(torch.device("cpu")))
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        capability = torch.cuda.get_device_capability(index)
        supported = has_kernels(capability, torch.cuda.get_arch_list())
        free = _free(torch.device("cuda", index)) if supported else None
        title = torch.cuda.get_device_name(index)
        yield Device(f"cuda:{index}", title, free, None if torch.version.hip else capability, supported)
    xpu: Any = getattr(torch, "xpu", None)
    for index in range(xpu.device_count() if xpu is not None and xpu.is_available() else 0):
        assert xpu is not None
        yield Device(f"xpu:{index}", xpu.get_device_name(index), _free(torch.device("xpu", index)))
    if torch.backends.mps.is_available():
        yield Device("mps", "Apple GPU", _free(torch.device("mps")))


def _free(device: Any) -> int | None:
    from ..tiling.memory import free_memory

    try:
        return free_memory(device)
    except Exception:  # drivers fail in many ways; the self-test says how
        return None


def has_kernels(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Whether code of these architectures ("sm_86", "compute_90") runs on a card of a compute capability.

    Machine code runs on cards of the same first number and a second one at least as high; intermediate code ("compute")
    on all newer cards. Anything else (ROCm's "gfx1100") is not judged.
    """
    known = [(kind, number) for kind, _, number in (name.partition("_") for name in built_for)]
    numbers = [(kind, int(digits)) for kind, text in known if (digits := text.rstrip("af")).isdecimal()]
    if not numbers:
        return True
    card = 10 * capability[0] + capability[1]
    return any(
        number <= card and (kind == "compute" or (kind == "sm" and number // 10 == capability[0]))
        for kind, number in numbers
    )


def backends() -> Iterator[Backend]:
    """Every backend and what is missing for it."""
    from ..backends import BACKENDS, listing

    for name, state in listing():
        item = BACKENDS.get(name)
        kinds: tuple[str, ...] = () if item is None else item.devices
        yield Backend(name, state.usable, state.detail, kinds, () if item is None else tuple(item.precisions))


def encoders() -> dict[str, bool]:
    """Which codecs this FFmpeg can write."""
    import av

    from ..video import CODECS

    def there(name: str) -> bool:
        try:
            av.Codec(name, "w")
        except Exception:  # PyAV's class of it has moved between versions
            return False
        return True

    return {codec.name: there(codec.encoder) for codec in CODECS.values()}


def temporary() -> tuple[str, int] | None:
    """Where maps go that no memory holds, and the bytes that are free there."""
    try:
        folder = tempfile.gettempdir()
        return folder, shutil.disk_usage(folder).free
    except OSError:
        return None


def comfyui_places(variables: Mapping[str, str], home: Path) -> Iterator[Program]:
    """ComfyUI in COMFYUI_PATH, around this copy of ours, and where people put it."""
    source = Path(str(paragon_arch.__file__)).resolve().parent.parent
    given = variables.get("COMFYUI_PATH")
    places = [Path(given)] if given else []
    places += [source.parent.parent] if source.parent.name == "custom_nodes" else []
    places += [home / name for name in ("ComfyUI", "Documents/ComfyUI", "ComfyUI_windows_portable/ComfyUI")]
    seen = set[Path]()
    for place in places:
        try:
            folder = place.resolve()
            if folder not in seen and (folder / "comfy").is_dir() and (folder / "main.py").is_file():
                seen.add(folder)
                yield comfyui(folder)
        except OSError:
            continue


def comfyui(folder: Path) -> Program:
    """One ComfyUI, and whether the pack is among its custom nodes."""
    nodes = folder / "custom_nodes"
    packs = sorted(path.parent.parent.name for path in nodes.glob("*/paragon_arch/__init__.py"))
    active = [name for name in packs if not name.endswith(".disabled")]
    off = f"the pack {packs[0]} is disabled: rename its folder" if packs and not active else ""
    cure = off or f"put this repository's folder into {nodes} and restart ComfyUI"
    return Program("ComfyUI", str(folder), f"custom node {', '.join(active)}" if active else None, cure)


def hook() -> Hook:
    """The start-up hook of this Python."""
    installed = distribution_version("comfyui-paragonsr") is not None
    active = any(type(finder).__module__ == "paragon_chainner.startup" for finder in sys.meta_path)
    return Hook(installed, active, not sys.flags.no_site)


def damaged_models() -> Iterator[str]:
    """What is wrong with the models that ship, in words."""
    try:
        models = shipped_models()
    except ParagonError as error:
        yield str(error)
        return
    if not models:
        yield "no model ships with this copy"
    for model in models:
        try:
            model.verified_path()
        except (ParagonError, OSError) as error:
            yield str(error)
