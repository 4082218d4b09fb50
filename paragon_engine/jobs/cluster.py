"""The same job on many machines, by Ray Data: one actor with one model for each worker.

A worker that dies is replaced and its files are given out again. Files that it had finished are found whole and
skipped, so none is lost and none done twice. Inputs and outputs are paths that all machines see, or addresses that
fsspec opens (``s3://bucket/folder``, ``gs://``, ...), which each worker copies to and from its own disk.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from paragon_arch.errors import ImageError, ParagonError

from ..model_source import ModelSource
from ..packages import require
from ..pictures import EXTENSIONS
from ..progress import Progress, log
from ..upscale import UpscaleSettings
from .folder import FolderOptions, FolderSummary, check_target, upscale_jobs
from .plan import Job, plan

_BATCH = 4
"""Files that a worker gets at once: enough that reading, upscaling and writing overlap."""
_Row = dict[str, str]


@dataclass
class ClusterSummary(FolderSummary):
    """What became of the pictures, and who did them."""

    workers: Counter[str] = field(default_factory=Counter[str])
    """Files by worker (machine and process)."""


def upscale_on_cluster(
    model: ModelSource,
    inputs: Sequence[Path | str],
    target: Path | str,
    settings: UpscaleSettings | None = None,
    options: FolderOptions | None = None,
    *,
    workers: int,
    progress: Progress | None = None,
) -> ClusterSummary:
    """Upscale many pictures on a Ray cluster: that of the environment (RAY_ADDRESS), else one on this machine.

    Args:
        model: its file must be where every worker finds it.
        inputs: as for `upscale_files`; or one address with "://" of a folder.
        target: folder, or address of one if the input is one.
        settings: None for the defaults.
        options: None for the defaults. Existing results are always verified.
        workers: number of actors. Each takes one GPU if the model's device is "cuda", else one CPU.
        progress: advanced by files; may cancel.

    Raises:
        InvalidOptionError: Ray (or fsspec) is not installed.
        ImageError, OutputError, CancelledError: as `upscale_files`.
    """
    ray = require("ray", "working on a cluster")
    ray_data = require("ray.data", "working on a cluster")
    options, progress = replace(options or FolderOptions(), verify=True), progress or Progress()
    rows = list(_rows(inputs, target, options))
    if not ray.is_initialized():
        ray.init(logging_level=logging.ERROR, log_to_driver=False)
    ray_data.DataContext.get_current().enable_progress_bars = False
    blocks = max(workers, min(len(rows) // _BATCH, 10_000))
    needs = {"num_gpus": 1} if model.device.startswith("cuda") else {"num_cpus": 1}
    results = ray_data.from_items(rows, override_num_blocks=min(len(rows), blocks)).map_batches(
        Worker,
        fn_constructor_args=(model, settings, options),
        batch_size=_BATCH,
        batch_format="numpy",
        concurrency=min(workers, len(rows)),
        **needs,
    )
    summary = ClusterSummary()
    progress.start(len(rows), unit="files")
    for row in results.iter_rows():
        _note(row, summary)
        progress.advance(label=Path(row["source"]).name)
    return summary


class Worker:
    """An actor: loads the model once, then upscales what it is given."""

    def __init__(self, model: ModelSource, settings: UpscaleSettings | None, options: FolderOptions) -> None:
        self._model, self._settings, self._options = model.load(), settings, options
        self._name = f"{os.uname().nodename}:{os.getpid()}" if hasattr(os, "uname") else str(os.getpid())

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Upscale a batch of rows and say what became of each."""
        rows = [_Row(source=str(s), target=str(t)) for s, t in zip(batch["source"], batch["target"], strict=True)]
        with tempfile.TemporaryDirectory(prefix="paragonsr-") as scratch:
            staged = [_staged(row, Path(scratch) / str(index)) for index, row in enumerate(rows)]
            summary = upscale_jobs(self._model, [job for job in staged if job], self._settings, self._options)
            errors = {str(source): str(error) for source, error in summary.failed}
            states: list[str] = []
            for row, job in zip(rows, staged, strict=True):
                error = "cannot be fetched" if job is None else errors.get(str(job.source), "")
                skipped = job is not None and job.target in summary.skipped
                if job is not None and not error and not skipped:
                    _send(job.target, row["target"])
                states.append(f"failed {error}" if error else "skipped" if skipped else "done")
        return {
            "source": [row["source"] for row in rows],
            "target": [row["target"] for row in rows],
            "state": states,
            "worker": [self._name] * len(rows),
        }


def _rows(inputs: Sequence[Path | str], target: Path | str, options: FolderOptions) -> Iterator[_Row]:
    if isinstance(target, str):
        for address in map(str, inputs):
            yield from _remote_rows(address, target, options)
        return
    paths = [Path(path) for path in inputs]
    check_target(paths, target)
    jobs = plan(paths, target, recursive=options.recursive, extension=options.extension, shard=options.shard)
    for job in jobs:
        yield _Row(source=str(job.source.resolve()), target=str(job.target.resolve()))


def _remote_rows(address: str, target: str, options: FolderOptions) -> Iterator[_Row]:
    fsspec = require("fsspec", "reading addresses")
    files, root = fsspec.core.url_to_fs(address)
    names = sorted(files.find(root, maxdepth=None if options.recursive else 1))
    found = False
    for name in names:
        relative = PurePosixPath(name).relative_to(PurePosixPath(root))
        if relative.suffix.lower() not in EXTENSIONS or relative.name.startswith("."):
            continue
        found = True
        result = relative if options.extension is None else relative.with_suffix(options.extension)
        if options.shard is None or options.shard.has(str(result)):
            yield _Row(source=files.unstrip_protocol(name), target=f"{target.rstrip('/')}/{result}")
    if not found:
        raise ImageError(f"{address}: no pictures there")


def _staged(row: _Row, folder: Path) -> Job | None:
    """The job on this machine's disk; None if its input cannot be fetched."""
    if "://" not in row["source"]:
        return Job(Path(row["source"]), Path(row["target"]))
    fsspec = require("fsspec", "reading addresses")
    folder.mkdir()
    job = Job(folder / PurePosixPath(row["source"]).name, folder / "result" / PurePosixPath(row["target"]).name)
    try:
        files, name = fsspec.core.url_to_fs(row["source"])
        files.get_file(name, str(job.source))
        there, result = fsspec.core.url_to_fs(row["target"])
        if there.exists(result):  # verified here, and made again if it is damaged
            job.target.parent.mkdir()
            there.get_file(result, str(job.target))
    except OSError as error:
        log.error("%s: %s", row["source"], error)
        return None
    return job


def _send(result: Path, address: str) -> None:
    """Put a result to its address; object stores show an object whole or not at all."""
    if "://" in address:
        there, name = require("fsspec", "writing addresses").core.url_to_fs(address)
        there.makedirs(str(PurePosixPath(name).parent), exist_ok=True)
        there.put_file(str(result), name)


def _note(row: dict[str, str], summary: ClusterSummary) -> None:
    source, target, state = Path(row["source"]), Path(row["target"]), row["state"]
    if state.startswith("failed "):
        log.error("%s", state[len("failed ") :])
        summary.failed.append((source, ParagonError(state[len("failed ") :])))
        return
    (summary.done if state == "done" else summary.skipped).append(target)
    summary.pairs.append((source, target))
    summary.workers[row["worker"]] += 1
