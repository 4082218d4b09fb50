"""Work that is disturbed at its N-th change of the disk, in forks of one process that has imported everything.

    python -m tests.faults.injection PLACES          with the shim preloaded; prints a line of JSON

PLACES is how many calls of each kind of work are tried with each fault: 0 tries all.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIM = Path(__file__).with_name("shim.c")
OK, TYPED, UNTYPED = 0, 10, 11
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A file system in memory, where flushing takes no time."""


@dataclass(frozen=True)
class Fault:
    """What happens at the chosen call."""

    name: str
    number: int
    """errno; 0 kills the process."""
    stays: bool = False
    """Whether all later calls fail too."""


FAULTS = (
    Fault("EIO", errno.EIO),
    Fault("disk full", errno.ENOSPC, stays=True),
    Fault("read-only", errno.EROFS, stays=True),
    Fault("killed", 0),
)


def build_shim(folder: Path) -> Path:
    """Compile the shim."""
    library = folder / "shim.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


class Sweep:
    """One piece of work, disturbed at every chosen place."""

    def __init__(self, name: str, base: Path) -> None:
        from tests.faults.writers import WRITERS, inputs

        self._name, self._writer = name, WRITERS[name]
        self._given, self._out = base / "given", base / "out"
        self._log = base / "log"
        self._shim: Any = ctypes.CDLL(None)
        if not self._given.exists():
            self._given.mkdir()
            assert self._fork(lambda: inputs(self._given)) == OK, self._log.read_text()

    def whole(self) -> tuple[dict[str, bytes], int]:
        """Results of an undisturbed run, and the number of its calls."""
        counted = self._log.with_suffix(".count")

        def work() -> None:
            self._arm(-1, Fault("none", 0))
            self._writer.run(self._given, self._out)
            count = self._shim.fault_count()
            self._shim.fault_arm(b"", -1, 0, 0)
            counted.write_text(str(count))

        self._prepare()
        assert self._fork(work) == OK, self._log.read_text()
        return {name: (self._out / name).read_bytes() for name in self._writer.results}, int(counted.read_text())

    def disturb(self, fault: Fault, index: int, expected: dict[str, bytes]) -> str:
        """Run with a fault; what became of it: "typed", "finished" or "killed".

        Raises:
            AssertionError: a wrong exception, half a result, something left behind, or the next run fails.
        """

        def work() -> None:
            self._arm(index, fault)
            self._writer.run(self._given, self._out)

        self._prepare()
        code, where = self._fork(work), f"{self._name}, {fault.name} at {index}"
        assert code in (OK, TYPED, -signal.SIGKILL), f"{where}: {code}\n{self._log.read_text()}"
        self._check(where, expected, finished=code == OK, killed=code < 0, undone=not fault.stays and code > 0)
        if fault.number == 0 or index % 5 == 0:
            again = self._fork(lambda: self._again())
            assert again == OK, f"{where}, the next run: {self._log.read_text()}"
            self._check(f"{where}, the next run", expected, finished=True, killed=False, clean=True)
        return {OK: "finished", TYPED: "typed"}.get(code, "killed")

    def _again(self) -> None:
        if self._writer.replaces or not (self._out / self._writer.results[0]).exists():
            self._writer.run(self._given, self._out)
        else:  # it was killed after its result had got its name: what it left goes with the next file in that folder
            from paragon_arch.files.atomic import atomic_path

            other = self._out / "other"
            with atomic_path(other) as temp:
                temp.write_bytes(b"")
            other.unlink()

    def _check(
        self,
        where: str,
        expected: dict[str, bytes],
        *,
        finished: bool,
        killed: bool,
        undone: bool = True,
        clean: bool = False,
    ) -> None:
        for name, new in expected.items():
            path = self._out / name
            found = path.read_bytes() if path.exists() else None
            allowed: list[bytes | None] = [new] if finished else [new, self._writer.before(name)]
            if "/" in name and not undone:  # a folder is replaced by two renames; the next run finishes or undoes them
                allowed.append(None)
            assert found in allowed, f"{where}: {name} is half-made ({len(found or b'')} bytes)"
        names = {path.name for path in self._out.iterdir()} - {name.split("/")[0] for name in expected}
        kept = () if clean and self._name != "folder" else self._writer.keeps
        left = [name for name in names if not name.startswith(kept)] if kept else list(names)
        assert killed or not left, f"{where}: left behind {left}"

    def _prepare(self) -> None:
        from tests.faults.writers import prepare

        prepare(self._out, self._writer)

    def _arm(self, index: int, fault: Fault) -> None:
        self._shim.fault_arm(str(self._out).encode(), index, fault.number, int(fault.stays))

    def _fork(self, work: Any) -> int:
        """Run in a fork; its exit code, or minus the signal that ended it."""
        from paragon_arch.errors import ParagonError

        self._log.write_text("")
        process = os.fork()
        if process:
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        code = UNTYPED
        try:
            with self._log.open("w") as log, contextlib.redirect_stderr(log):
                try:
                    work()
                    code = OK
                except ParagonError:
                    code = TYPED
                except BaseException:  # whatever it is, the parent shall hear of it
                    traceback.print_exc(file=log)
        finally:
            os._exit(code)


def sweep(places: int, names: list[str]) -> dict[str, Any]:
    """Disturb every kind of work with every kind of fault at this many places, 0 for all."""
    figures: dict[str, Any] = {}
    for name in names:
        outcomes = Counter[str]()
        with tempfile.TemporaryDirectory(dir=MEMORY) as base:
            subject = Sweep(name, Path(base))
            expected, calls = subject.whole()
            for offset, fault in enumerate(FAULTS):
                step = max(1, calls // places) if places else 1
                for index in range(offset % step, calls, step):
                    outcomes[f"{fault.name}: {subject.disturb(fault, index, expected)}"] += 1
        figures[name] = {"calls": calls, "outcomes": dict(outcomes)}
    return figures


def main(places: int) -> None:
    """Sweep and print."""
    import torch

    from tests.faults.writers import WRITERS

    torch.set_num_threads(1)
    chosen = sys.argv[2:] or list(WRITERS)
    sys.stdout.write(json.dumps(sweep(places, chosen)) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
