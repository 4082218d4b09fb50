"""A folder that appears whole or not at all, and work on it that goes on after a crash.

Everything is made in a hidden sibling of the final folder. A journal beside it names each finished step with its
result and the SHA-256 of its files; a later run with the same key skips steps whose files are still as they were. At
the end the hidden folder is renamed and the journal deleted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from paragon_arch.errors import OutputError, OutputExistsError
from paragon_arch.files.atomic import atomic_path
from paragon_arch.files.patience import patiently

from ..progress import log
from .artefacts import file_sha256

StepResult = dict[str, Any]
"""What a step found out, as JSON types."""


@dataclass
class Staging:
    """The hidden folder.

    Args:
        final: the folder to make.
        key: identifies the work; another key starts afresh.
    """

    final: Path
    key: str

    @property
    def folder(self) -> Path:
        """Where the steps write."""
        return self.final.parent / f".{self.final.name}.release"

    @property
    def lock(self) -> Path:
        """Of the process that makes the folder."""
        return self.final.parent / f".{self.final.name}.release.lock"

    @property
    def _record(self) -> Path:
        """The journal."""
        return self.final.parent / f".{self.final.name}.release.json"

    @property
    def _previous(self) -> Path:
        return self.final.parent / f".{self.final.name}.previous"

    def open(self) -> None:
        """Make the folder, or clean up what a crash left in it.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self._recover()
            if self._journal().get("key") != self.key:
                self.discard()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_strays()
            if not self._journal():
                self._write({"key": self.key, "steps": {}})
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written ({error}): choose another folder") from error

    def step(self, name: str, work: Callable[[], StepResult], files: Callable[[StepResult], list[str]]) -> StepResult:
        """Run a step, unless the journal says that it is done and its files are as they were.

        Args:
            name: of the step.
            work: makes files in `folder`, each complete or not at all, and returns its result.
            files: names of the files that belong to a result.
        """
        journal = self._journal()
        done = journal["steps"].get(name)
        if done is not None and self._intact(done["files"]):
            log.info("%s: done already", name)
            return done["result"]
        # through JSON, so that a result is the same, its order too, whether it is new or read
        result = cast("StepResult", json.loads(json.dumps(work())))
        digests = {file: file_sha256(self.folder / file) for file in files(result)}
        journal["steps"][name] = {"files": digests, "result": result}
        self._write(journal)
        return result

    def publish(self, *, overwrite: bool) -> None:
        """Give the folder its final name.

        Raises:
            OutputExistsError: a folder that is not empty has the name, and is not to be replaced.
            OutputError: renaming failed.
        """
        try:
            if self.final.is_dir() and any(self.final.iterdir()):
                if not overwrite:
                    raise OutputExistsError(f"{self.final}: is not empty; choose another folder or ask for overwriting")
                self._replace()
            else:
                if self.final.is_dir():
                    self.final.rmdir()
                patiently(lambda: self.folder.rename(self.final))
            self.clean()
        except OSError as error:
            raise OutputError(f"{self.final}: cannot be written ({error})") from error

    def _replace(self) -> None:
        patiently(lambda: self.final.rename(self._previous))
        try:
            patiently(lambda: self.folder.rename(self.final))
        except OSError:
            with suppress(OSError):  # else `_recover` does it at the next run
                patiently(lambda: self._previous.rename(self.final))
            raise

    def clean(self) -> None:
        """Remove what a crash right after publishing leaves."""
        self._record.unlink(missing_ok=True)
        shutil.rmtree(self._previous, ignore_errors=True)
        with suppress(OSError):  # Windows removes no open files; its holder does
            self.lock.unlink()

    def discard(self) -> None:
        """Remove everything that was made so far."""
        self._record.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _recover(self) -> None:
        """Finish or undo a replacement that a crash interrupted between two renames."""
        if self._previous.exists():
            if self.final.exists():
                shutil.rmtree(self._previous, ignore_errors=True)
            else:
                patiently(lambda: self._previous.rename(self.final))

    def _remove_strays(self) -> None:
        """Delete what no finished step owns: a step that was killed leaves nothing behind."""
        owned = set[str]()
        for done in self._journal().get("steps", {}).values():
            owned |= set(done["files"])
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in owned:
                path.unlink()

    def _intact(self, digests: dict[str, str]) -> bool:
        paths = {self.folder / name: digest for name, digest in digests.items()}
        if any(self.folder.resolve() not in path.resolve().parents for path in paths):
            return False  # a journal that somebody else has written
        return all(path.is_file() and file_sha256(path) == digest for path, digest in paths.items())

    def _journal(self) -> dict[str, Any]:
        try:
            found: Any = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def _write(self, journal: dict[str, Any]) -> None:
        with atomic_path(self._record, overwrite=True) as temp:
            temp.write_text(json.dumps(journal, indent=1) + "\n", encoding="utf-8")
