"""What a run tells: the log of the package, ``log.tsv``, and TensorBoard."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from paragon_arch.errors import ParagonError

log = logging.getLogger(__name__)


class RunLog:
    """Means since the last line, speed and time left.

    ``log.tsv`` has one line for each report: ``step``, ``loss``, ``lr``, then ``name=value`` for every further value
    (parts of the loss, what the critic says, validation).

    Args:
        out: folder of the run.
        steps: of the whole run.
        first: step at which this process starts.
        tensorboard: also write TensorBoard event files.

    Raises:
        ParagonError: TensorBoard is asked for and not installed.
    """

    def __init__(self, out: Path, *, steps: int, first: int, tensorboard: bool) -> None:
        self.path, self.steps, self.first = out / "log.tsv", steps, first
        self.started = time.monotonic()
        self.sums: dict[str, float | Tensor] = {}
        self.counts: dict[str, int] = {}
        self.writer = _tensorboard(out) if tensorboard else None

    def add(self, values: Mapping[str, float | Tensor]) -> None:
        """Count the values of one step in; tensors stay on their device until `report`."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def report(self, step: int, rate: float, skipped: int) -> None:
        """Write one line with the means of what was added since the last one."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums.clear()
        self.counts.clear()
        seconds = (time.monotonic() - self.started) / max(1, step - self.first)
        left = seconds * (self.steps - step)
        text = "step %d/%d  loss %.5f  %.2f s/step  %s left  %d skipped"
        log.info(text, step, self.steps, means.get("loss", 0.0), seconds, duration(left), skipped)
        self.write(step, {"loss": means.pop("loss", 0.0), "lr": rate, **means})

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append values of a step to ``log.tsv`` and TensorBoard."""
        plain = {name: value for name, value in values.items() if name in ("loss", "lr")}
        cells = [str(step), *(f"{plain[name]:.6g}" if name in plain else "" for name in ("loss", "lr"))]
        cells += [f"{name}={value:.6g}" for name, value in values.items() if name not in plain]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\t".join(cells) + "\n")
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)
            self.writer.flush()


def duration(seconds: float) -> str:
    """A time in words, as "1 h 05 min"."""
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ParagonError("run.tensorboard needs TensorBoard: pip install tensorboard") from error
    return SummaryWriter(str(out / "tensorboard"))
