"""What is wrong, judged from the facts alone, and the cure of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .facts import Card, Facts, Finding

MINIMUM_PYTHON = (3, 10)
MINIMUM = {
    "torch": (2, 1),
    "numpy": (1, 24),
    "pillow": (9, 2),
    "spandrel": (0, 4, 1),
    "safetensors": (0, 4),
}
"""Oldest versions that work; all of them are needed."""
OPTIONAL = {
    "av": "videos are neither read nor written",
    "onnx": "nothing is exported, and ONNX files do not open",
}
"""What is missing without a package that is not needed for pictures."""
LITTLE_MEMORY = 1 << 30
"""Bytes below which nearly every picture needs tiles."""
LITTLE_DISK = 4 << 30
"""Bytes below which the maps of a large picture may not fit into temporary files."""
_GUIDE = "https://pytorch.org/get-started/locally/"


def findings(facts: Facts) -> list[Finding]:
    """Everything that the facts say, problems first."""
    found = [finding for rule in _RULES for finding in rule(facts)]
    return sorted(found, key=lambda finding: finding.level != "problem")


def parsed(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.1.2+cu121" is (2, 1, 2)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _pip(facts: Facts, words: str) -> str:
    return f'"{facts.executable}" -m pip {words}'


def _problem(what: str, cure: str) -> Finding:
    return Finding("problem", what, cure)


def _note(what: str, cure: str) -> Finding:
    return Finding("note", what, cure)


def _python(facts: Facts) -> Iterator[Finding]:
    if facts.python < MINIMUM_PYTHON:
        running = ".".join(map(str, facts.python))
        yield _problem(f"Python {running} is too old", "install Python 3.10 or newer")


def _packages(facts: Facts) -> Iterator[Finding]:
    for name, least in MINIMUM.items():
        version = facts.packages.get(name)
        wanted = ".".join(map(str, least))
        if version is None:
            yield _problem(f"{name} is not installed", _pip(facts, f'install "{name}>={wanted}"'))
        elif (number := parsed(version)) and number < least:
            yield _problem(
                f"{name} {version} is too old: {wanted} or newer is needed",
                _pip(facts, f'install --upgrade "{name}>={wanted}"'),
            )
    for module, error in facts.broken.items():
        name = "pillow" if module == "PIL" else module
        cure = f"reinstall it: {_pip(facts, f'install --force-reinstall --no-deps {name}')}"
        if "DLL load failed" in error:
            cure += ", and install Microsoft's Visual C++ Redistributable"
        if "numpy" in error.lower() and name != "numpy":
            cure = f"it was built for another numpy: {_pip(facts, f'install --upgrade {name}')}"
        yield _problem(f"{module} is installed but cannot be imported ({error})", cure)
    for name, without in OPTIONAL.items():
        if facts.packages.get(name) is None:
            yield _note(f"{name} is not installed: {without}", _pip(facts, f"install {name}"))


def _cuda(facts: Facts) -> Iterator[Finding]:
    if not facts.cards or not facts.torch_build:
        return
    title = _title(facts.cards)
    if not facts.torch_build.startswith("cuda"):
        build = "only computes on the CPU" if facts.torch_build == "cpu" else f"is built for {facts.torch_build}"
        yield _problem(
            f"there is an NVIDIA card ({title}), but this PyTorch {build}",
            f"in {facts.executable}, install PyTorch for CUDA as {_GUIDE} says",
        )
    elif not any(device.name.startswith("cuda") for device in facts.devices):
        yield _problem(
            f"PyTorch ({facts.torch_build}) cannot use the NVIDIA card {title} with driver {facts.cards[0].driver}",
            "update NVIDIA's driver, or install a PyTorch for an older CUDA; CUDA_VISIBLE_DEVICES must not hide it",
        )


def _title(cards: tuple[Card, ...]) -> str:
    return ", ".join(dict.fromkeys(card.name for card in cards))


def _devices(facts: Facts) -> Iterator[Finding]:
    for device in facts.devices:
        if not device.supported:
            number = ".".join(map(str, device.capability or ()))
            yield _problem(
                f"this PyTorch ({facts.torch_build}) has no kernels for {device.name}, {device.title}, "
                f"of capability {number}",
                f"in {facts.executable}, install one that has them as {_GUIDE} says (an older PyTorch for an old card, "
                "a newer one for a new card), or use --device cpu",
            )
        elif device.capability is not None and device.capability < (8, 0):
            yield _note(
                f"{device.name}, {device.title}, is older than NVIDIA's Ampere: it has no fast BF16",
                "nothing to do; where FP16 gives NaN (GTX 16), --precision fp32 saves the attempts",
            )
        if device.free is not None and device.free < LITTLE_MEMORY:
            yield _note(
                f"only {mebibytes(device.free)} of memory are free on {device.name}: pictures run in small tiles",
                "close other programs",
            )


def mebibytes(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size >> 20} MiB"


def _runtimes(facts: Facts) -> Iterator[Finding]:
    if len(facts.runtimes) > 1:
        names = " ".join(facts.runtimes)
        kept = next((name for name in facts.runtimes if name != "onnxruntime"), facts.runtimes[0])
        yield _problem(
            f"several builds of ONNX Runtime shadow each other: {names.replace(' ', ', ')}",
            f"{_pip(facts, f'uninstall {names}')}, then {_pip(facts, f'install {kept}')}",
        )
    elif facts.cards and facts.runtimes == ("onnxruntime",):
        yield _note(
            "this ONNX Runtime computes on the CPU only, beside an NVIDIA card",
            f"{_pip(facts, 'uninstall onnxruntime')}, then {_pip(facts, 'install onnxruntime-gpu')}",
        )


def _video(facts: Facts) -> Iterator[Finding]:
    if facts.encoders and not facts.encoders.get("h264"):
        able = ", ".join(name for name, there in facts.encoders.items() if there) or "none"
        yield _note(
            f"this FFmpeg cannot write h264, the usual codec (it can write: {able})",
            f"give --codec, or {_pip(facts, 'install --force-reinstall --no-deps av')}, whose own FFmpeg can",
        )


def _disk(facts: Facts) -> Iterator[Finding]:
    if facts.temporary is not None and facts.temporary[1] < LITTLE_DISK:
        folder, free = facts.temporary
        yield _note(
            f"only {mebibytes(free)} are free in {folder}, where parts of very large pictures go",
            "free some space, or let TMPDIR (on Windows TEMP) name another folder",
        )


def _programs(facts: Facts) -> Iterator[Finding]:
    for program in facts.programs:
        if program.ours is None:
            yield _note(f"{program.kind} in {program.folder} does not know ParagonSR", program.cure)


def _hook(facts: Facts) -> Iterator[Finding]:
    hook = facts.hook
    if hook is None or not hook.installed or hook.active:
        return
    if not hook.reads_start_up_files:
        cure = "add the line `import site` to the file ._pth beside it, or call paragon_arch.register() yourself"
        yield _note("this Python reads no start-up files, so spandrel does not know the family by itself", cure)
        return
    cure = _pip(facts, "install --force-reinstall --no-deps comfyui-paragonsr")
    yield _note("the start-up file paragonsr.pth has not run, so spandrel does not know the family by itself", cure)


def _models(facts: Facts) -> Iterator[Finding]:
    for reason in facts.damaged:
        yield _problem(f"the included models are not whole: {reason}", "install or clone this project again")


def _trials(facts: Facts) -> Iterator[Finding]:
    working = {(trial.device, trial.precision) for trial in facts.trials if trial.passed}
    for trial in facts.trials:
        if trial.passed or trial.skipped:
            continue
        name = f"{trial.backend} on {trial.device} in {trial.precision}"
        if trial.difference is None:
            what = f"{name} does not run the included model: {trial.error}"
        else:
            what = f"{name} gives a wrong picture: {trial.difference:.2g} off, {trial.limit:g} is allowed"
        if trial.precision != "fp32":
            precise = (trial.device, "fp32") in working
            yield _note(what, "give --precision fp32, which works" if precise else "see the problem in FP32")
        elif trial.device != "cpu":
            yield _problem(what, "update the driver and PyTorch; until then --device cpu")
        elif trial.backend != "torch":
            yield _problem(what, f"update {trial.backend}; until then --backend torch")
        else:
            yield _problem(what, f"reinstall PyTorch as {_GUIDE} says")


_RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _cuda,
    _devices,
    _runtimes,
    _models,
    _trials,
    _video,
    _disk,
    _programs,
    _hook,
)
