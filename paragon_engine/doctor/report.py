"""The facts and findings as text for people and as values for JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

from .facts import Device, Facts, Finding, Trial
from .rules import mebibytes

Row = tuple[str, str]


def as_dict(facts: Facts, found: Iterable[Finding]) -> dict[str, Any]:
    """Everything, of JSON types."""
    report = dataclasses.asdict(facts)
    for trial, values in zip(facts.trials, report["trials"], strict=True):
        values["passed"] = trial.passed
        if trial.difference is not None and not math.isfinite(trial.difference):  # JSON has no word for it
            values["difference"] = None
            values["error"] = "NaN"
    return report | {"findings": [dataclasses.asdict(finding) for finding in found]}


def lines(facts: Facts, found: Iterable[Finding]) -> Iterator[Row]:
    """Rows of (what, value); a row with an empty value is a heading."""
    yield "this computer", ""
    yield "ParagonSR", facts.ours
    yield "Python", f"{'.'.join(map(str, facts.python))}, {facts.executable}"
    yield "system", facts.system
    for name, version in facts.packages.items():
        build = f" ({facts.torch_build})" if name == "torch" and facts.torch_build else ""
        yield name, f"{version}{build}" if version else "-"
    yield "ONNX Runtime", ", ".join(facts.runtimes) or "-"
    for card in facts.cards:
        yield "NVIDIA", f"{card.name}, driver {card.driver}"
    if facts.temporary is not None:
        yield "temporary files", f"{facts.temporary[0]}, {mebibytes(facts.temporary[1])} free"
    yield "devices", ""
    yield from ((device.name, _device(device)) for device in facts.devices)
    yield "backends", ""
    for item in facts.backends:
        yield item.name, f"{'' if item.usable else 'no: '}{item.detail}"
    if facts.trials:
        yield "self-test: the included model", ""
        yield from ((f"{trial.device}, {trial.backend}, {trial.precision}", _trial(trial)) for trial in facts.trials)
    if facts.encoders:
        yield "video", ""
        yield "codecs", ", ".join(name for name, there in facts.encoders.items() if there) or "-"
    if facts.programs or facts.hook is not None:
        yield "programs", ""
    for program in facts.programs:
        yield program.kind, f"{program.folder}: {program.ours or 'ParagonSR is not in it'}"
    if facts.hook is not None:
        yield "start-up file", "active" if facts.hook.active else "not active in this Python"
    yield from _findings(list(found))


def _device(device: Device) -> str:
    free = "" if device.free is None else f", {mebibytes(device.free)} free"
    return f"{device.title}{free}{'' if device.supported else ', not supported by this PyTorch'}"


def _trial(trial: Trial) -> str:
    if trial.skipped:
        return "left out, out of time"
    if trial.error:
        return f"FAILED: {trial.error}"
    state = "good" if trial.passed else "WRONG"
    return f"{state}, {trial.difference:.1g} off, {trial.seconds:.1f} s"


def _findings(found: list[Finding]) -> Iterator[Row]:
    problems = sum(finding.level == "problem" for finding in found)
    yield f"{problems or 'no'} problem{'' if problems == 1 else 's'}", ""
    for finding in found:
        yield finding.level, finding.what
        yield "", f"cure: {finding.cure}"
