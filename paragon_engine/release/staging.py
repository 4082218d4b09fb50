"""A folder that appears whole or not at all, and work on it that goes on after a crash.

Everything is made in a hidden sibling of the final folder. A journal beside it names each finished step with its
result and the SHA-256 of its files; a later run with the same key skips steps whose files are still as they were. At
the end the hidden folder is renamed and the journal deleted.

The journal is the mark that the hidden folder is ours, and the manifest is that of a finished one; of both, only files
with names that a release gives are ever deleted (`paragon_arch.files.ours`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from paragon_arch.errors import OutputError, OutputExistsError
from paragon_arch.files.atomic import atomic_path, leftover
from paragon_arch.files.ours import Ours, identity, refuse_link, refuse_strangers, remove_ours
from paragon_arch.files.patience import patiently
from paragon_arch.files.records import recall

from ..progress import log
from .artefacts import file_sha256
from .signing import SIGNATURE

MANIFEST = "manifest.json"
"""Of a finished folder: names its files."""
StepResult = dict[str, Any]
"""What a step found out, as JSON types."""


@dataclass
class Staging:
    """The hidden folder.

    Args:
        final: the folder to make.
        key: identifies the work; another key starts afresh.
        stem: what the names of all files but the manifest start with.
    """

    final: Path
    key: str
    stem: str

    @property
    def folder(self) -> Path:
        """Where the steps write."""
        return self.final.parent / f".{self.final.name}.release"

    @property
    def lock(self) -> Path:
        """Of the process that makes the folder."""
        return self.final.parent / f".{self.final.name}.release.lock"

    @property
    def unclean(self) -> bool:
        """Whether there is something to `clean`."""
        return any(os.path.lexists(path) for path in (self.lock, self._record, self._previous))

    @property
    def _record(self) -> Path:
        """The journal."""
        return self.final.parent / f".{self.final.name}.release.json"

    @property
    def _previous(self) -> Path:
        return self.final.parent / f".{self.final.name}.previous"

    def check(self) -> None:
        """Look at everything that may be in the way, before any work.

        Raises:
            OutputExistsError: a link, a folder that is not ours, or a file in one that is not ours.
            OutputError: it cannot be read.
        """
        try:
            refuse_link(self.final)
            refuse_strangers(self.folder, self._journaled() if self._journal() else _nothing)
            if os.path.lexists(self._record) and not self._journal():
                raise OutputExistsError(f"{self._record}: is in the way and not ours; move it or choose another name")
            if not self._replaced():
                refuse_strangers(self._previous, _nothing)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be read ({error}): choose another folder") from error

    def check_replaceable(self) -> None:
        """Refuse to replace what no release made.

        Raises:
            OutputExistsError: the final folder holds something else than a finished release.
        """
        refuse_strangers(self.final, _released(self.final))

    def open(self) -> None:
        """Make the folder, or clean up what a crash left in it.

        Raises:
            OutputExistsError: see `check`.
            OutputError: it cannot be written.
        """
        self.check()
        try:
            self._recover()
            if self._journal().get("key") != self.key:
                self.discard()
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._journal():
                self._write({"key": self.key, "stem": self.stem, "steps": {}})
            self._remove_strays()
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
                self.check_replaceable()
                self._replace()
            else:
                refuse_link(self.final)
                if self.final.is_dir():
                    self.final.rmdir()
                patiently(lambda: self.folder.rename(self.final))
            self.clean()
        except OSError as error:
            raise OutputError(f"{self.final}: cannot be written ({error})") from error

    def _replace(self) -> None:
        self._write({**self._journal(), "previous": identity(self.final)})
        patiently(lambda: self.final.rename(self._previous))
        try:
            patiently(lambda: self.folder.rename(self.final))
        except OSError:
            with suppress(OSError):  # else `_recover` does it at the next run
                patiently(lambda: self._previous.rename(self.final))
            raise

    def clean(self) -> None:
        """Remove what a crash right after publishing leaves; with the lock held."""
        self._remove_previous()
        if not self.folder.exists():
            self._record.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove everything that was made so far; the journal last, without which the folder is not ours."""
        if self._journal():
            remove_ours(self.folder, self._journaled())
            self._record.unlink(missing_ok=True)

    def _remove_previous(self) -> None:
        """Remove the release that was replaced, if it is the folder that the journal says."""
        if self._replaced():
            remove_ours(self._previous, _released(self._previous), last=MANIFEST)

    def _replaced(self) -> bool:
        """Whether the previous folder is the one that the journal says."""
        previous = self._journal().get("previous")
        return previous is not None and identity(self._previous) == previous

    def _recover(self) -> None:
        """Finish or undo a replacement that a crash interrupted between two renames."""
        if self.final.exists():
            self._remove_previous()
        elif self._replaced():
            patiently(lambda: self._previous.rename(self.final))

    def _remove_strays(self) -> None:
        """Delete what no finished step owns: a step that was killed leaves nothing behind."""
        owned = set[str]()
        for done in self._journal()["steps"].values():
            owned |= set(done["files"])
        remove_ours(self.folder, lambda name: name not in owned and self._journaled()(name))
        self.folder.mkdir(exist_ok=True)

    def _journaled(self) -> Ours:
        """The names that the folder of the journal's work holds."""
        stem: str = self._journal()["stem"]
        return lambda name: name == MANIFEST or name.startswith(stem) or leftover(name) is not None

    def _intact(self, digests: dict[str, str]) -> bool:
        paths = {self.folder / name: digest for name, digest in digests.items()}
        if any(self.folder.resolve() not in path.resolve().parents for path in paths):
            return False  # a journal that somebody else has written
        return all(path.is_file() and file_sha256(path) == digest for path, digest in paths.items())

    def _journal(self) -> dict[str, Any]:
        """The journal; {} without one, or with one that is not ours."""
        found = recall(self._record)
        steps = found.get("steps")
        texts = all(isinstance(found.get(name), str) and found[name] for name in ("key", "stem"))
        if not texts or not isinstance(steps, dict) or not all(map(_is_done, cast("dict[str, Any]", steps).values())):
            return {}
        return found

    def _write(self, journal: dict[str, Any]) -> None:
        with atomic_path(self._record, overwrite=True) as temp:
            temp.write_text(json.dumps(journal, indent=1) + "\n", encoding="utf-8")


def _is_done(step: object) -> bool:
    """Whether this is a journal's entry of a finished step."""
    if not isinstance(step, dict):
        return False
    done = cast("dict[str, Any]", step)
    files = done.get("files")
    return isinstance(done.get("result"), dict) and _are_texts(files)


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in cast("dict[str, object]", value).values())


def _released(folder: Path) -> Ours:
    """The names in a finished release, by its manifest."""
    manifest = recall(folder / MANIFEST)
    files = manifest.get("files")
    if not isinstance(manifest.get("key"), str) or not isinstance(files, dict):
        return _nothing
    names = {MANIFEST, SIGNATURE, *cast("dict[str, object]", files)}
    return lambda name: name in names


def _nothing(_name: str) -> bool:
    return False
