"""Measuring in turns."""

from __future__ import annotations

import datetime as dt
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from paragon_arch.errors import ParagonError
from paragon_arch.networks.base import SRNetwork

from ..backends import usable
from ..backends.choose import processor
from ..packages import installed, version
from ..progress import Progress, log
from ..turns import Turns
from .ceilings import Work, probes, work
from .memory import peak_bytes
from .subjects import Reference, Subject, subjects

MIN_RUNS = 3


@dataclass(frozen=True)
class Options:
    """How to measure."""

    sizes: tuple[int, ...] = (256, 512)
    """Sides of the square inputs."""
    backends: tuple[str, ...] | None = None
    """Names; None for all that can be used here and take seconds, not minutes, to prepare."""
    runs: int = 9
    """Runs of each line, in turns."""
    budget: float = 120.0
    """Seconds after which a model and size stops at `MIN_RUNS` runs or more."""
    passes: bool = False
    """At the first size also measure the inference form after each of its passes."""


@dataclass
class Row:
    """One line: a form on a backend."""

    form: str
    backend: str
    median: float
    """Seconds."""
    fastest: float
    runs: int
    prepare: float
    """Seconds until it could run: building, exporting, compiling."""
    peak: int | None
    """Bytes that its first run took at the peak, beyond what it held before."""
    difference: float
    """Largest absolute difference from the baseline's output."""
    ratio: float = 1.0
    """The baseline's median over this one's."""
    against_graph: float | None = None
    """On a backend that runs graphs: median of the reference form's graph over this one's."""
    gemm_share: float | None = None
    """Arithmetic rate over the ceiling's; counted for the form as PyTorch runs it."""
    copy_share: float | None = None
    """Memory traffic of the form's operations over the ceiling's; only for eager PyTorch, which fuses none."""


@dataclass
class Case:
    """A model at one size; the first row is the baseline."""

    model: str
    size: int
    rows: list[Row]
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Lines that could not run, with the reason."""

    @property
    def best(self) -> Row:
        """The fastest line."""
        return min(self.rows, key=lambda row: row.median)


@dataclass
class Report:
    """Everything that one run measured."""

    machine: dict[str, str]
    device: str
    threads: int
    date: str
    versions: dict[str, str]
    ceilings: dict[str, float]
    """``gemm`` in operations and ``copy`` in bytes per second: the median of all turns."""
    cases: list[Case]


def benchmark(
    networks: Mapping[str, SRNetwork],
    options: Options | None = None,
    *,
    reference: Reference | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure networks.

    Lines of a case run in turns: see `Turns`.

    Args:
        networks: by title; in FP32, in evaluation mode.
        options: None for the defaults.
        reference: makes the baseline; None takes the fused network, run eagerly.
        device: None for the CPU.
        progress: advanced by lines; may cancel.

    Raises:
        InvalidOptionError: an unknown backend.
        CancelledError: progress was cancelled.
    """
    options, progress, device = options or Options(), progress or Progress(), device or torch.device("cpu")
    names = options.backends or tuple(item.name for item in usable(device) if item.quick)
    ceilings = {name: (call, amount, list[float]()) for name, (call, amount) in probes(device).items()}
    progress.start(len(networks) * len(options.sizes))
    cases: list[Case] = []
    for title, network in networks.items():
        lines = subjects(network, names, reference=reference, passes=options.passes, device=device)
        for index, size in enumerate(options.sizes):
            chosen = [line for line in lines if index == 0 or not line.partial]
            cases.append(_case(title, network, size, chosen, options, device, ceilings, progress.part()))
    rates = {name: amount / statistics.median(times) for name, (_, amount, times) in ceilings.items()}
    for case in cases:
        _relate(case, rates)
    return Report(
        machine={"processor": processor(), "system": platform.platform(terse=True)},
        device=str(device),
        threads=torch.get_num_threads(),
        date=dt.datetime.now(dt.timezone.utc).date().isoformat(),
        versions={name: version(name) for name in ("torch", "onnxruntime", "openvino") if installed(name)},
        ceilings=rates,
        cases=cases,
    )


Ceilings = dict[str, tuple[Callable[[], object], float, list[float]]]


@dataclass
class _Line:
    """A subject that runs."""

    subject: Subject
    run: Callable[[Tensor], Tensor]
    prepare: float
    peak: int | None
    difference: float
    times: list[float] = field(default_factory=list[float])


def _case(
    title: str,
    network: SRNetwork,
    size: int,
    lines: Sequence[Subject],
    options: Options,
    device: torch.device,
    ceilings: Ceilings,
    progress: Progress,
) -> Case:
    channels = network.hyperparameters.get("in_channels", 3)
    image = torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    progress.start(len(lines) + options.runs, label=f"{title}, {size}")
    ready, failed, baseline = list[_Line](), dict[str, str](), None
    for subject in lines:
        progress.advance()
        try:
            line, output = _prepared(subject, image, baseline)
        except (ParagonError, RuntimeError, MemoryError) as error:
            failed[f"{subject.form}, {subject.backend}"] = str(error).splitlines()[0][:200]
            log.info("%s, %d: %s on %s left out: %s", title, size, subject.form, subject.backend, error)
            continue
        baseline = output if baseline is None else baseline
        ready.append(line)
    del baseline
    _take_turns(ready, image, options, ceilings, progress)
    rows = [_row(line) for line in ready]
    counts = {line.subject.form: work(line.subject.module(), image) for line in ready if line.subject.module}
    for row in rows:
        _count(row, counts.get(row.form))
    return Case(title, size, rows, failed)


def _prepared(subject: Subject, image: Tensor, baseline: Tensor | None) -> tuple[_Line, Tensor]:
    began = time.perf_counter()
    run = subject.prepare()
    prepare, outputs = time.perf_counter() - began, list[Tensor]()
    peak = peak_bytes(lambda: outputs.append(run(image)), image.device)
    output = outputs.pop()
    difference = 0.0 if baseline is None else float((output - baseline).abs().max())
    return _Line(subject, run, prepare, peak, difference), output


@torch.inference_mode()
def _take_turns(lines: list[_Line], image: Tensor, options: Options, ceilings: Ceilings, progress: Progress) -> None:
    calls: dict[str | int, Callable[[], object]] = {name: call for name, (call, _, _) in ceilings.items()}
    calls |= {index: partial(line.run, image) for index, line in enumerate(lines)}
    turns, began = Turns(calls, image.device), time.monotonic()
    for turn in range(options.runs):
        progress.advance()
        if turn >= MIN_RUNS and time.monotonic() - began > options.budget:
            break
        turns.take()
    for index, line in enumerate(lines):
        line.times = turns.times[index]
    for name, (_, _, times) in ceilings.items():
        times += turns.times[name]


def _row(line: _Line) -> Row:
    return Row(
        form=line.subject.form,
        backend=line.subject.backend,
        median=statistics.median(line.times),
        fastest=min(line.times),
        runs=len(line.times),
        prepare=line.prepare,
        peak=line.peak,
        difference=line.difference,
    )


def _count(row: Row, counted: Work | None) -> None:
    """Rates, for `_relate` to divide by the ceilings."""
    if counted is None:
        return
    row.gemm_share = counted.flops / row.median
    if row.backend == "torch":
        row.copy_share = counted.traffic / row.median


def _relate(case: Case, ceilings: Mapping[str, float]) -> None:
    """Fill in what compares a row with others and with the machine."""
    graphs = {row.backend: row.median for row in case.rows if row.form == "reference" and row.backend != "torch"}
    for row in case.rows:
        row.ratio = case.rows[0].median / row.median
        if row.form == "inference" and row.backend in graphs:
            row.against_graph = graphs[row.backend] / row.median
        if row.gemm_share is not None:
            row.gemm_share /= ceilings["gemm"]
        if row.copy_share is not None:
            row.copy_share /= ceilings["copy"]
