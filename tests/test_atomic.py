"""A file appears under its final name whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paragon_arch.errors import OutputError, OutputExistsError
from paragon_arch.files import atomic, patience
from paragon_arch.files.atomic import atomic_path
from paragon_engine.release.staging import Staging


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("step", ["flush", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
def test_injected_failures(
    number: int, step: str, overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.bin"
    if overwrite:
        path.write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    if step == "flush":
        monkeypatch.setattr(atomic, "_flush_file", fail)
    elif overwrite:
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(atomic, "_claim", fail)
    with pytest.raises(OutputError, match=r"out\.bin"), atomic_path(path, overwrite=overwrite) as temp:
        temp.write_bytes(b"new")
    monkeypatch.undo()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == ([("out.bin", b"old")] * overwrite)


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), OSError(errno.ENOENT, "x", "other.png")])
def test_errors_of_the_block_pass_and_leave_nothing(error: BaseException, tmp_path: Path) -> None:
    def work() -> None:
        with atomic_path(tmp_path / "out.png") as temp:
            temp.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        work()
    assert caught.value is error
    assert not list(tmp_path.iterdir())


def test_disk_full_while_writing(tmp_path: Path) -> None:
    def work() -> None:
        with atomic_path(tmp_path / "out.png") as temp:
            temp.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="disk is full"):
        work()
    assert not list(tmp_path.iterdir())


def test_a_block_that_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError), atomic_path(tmp_path / "out.png"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_temporary_file_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / ("n" * 240 + ".png")) as temp:
        assert temp.suffix == ".png"
        temp.write_bytes(b"x")
    assert [file.name for file in tmp_path.iterdir()] == ["n" * 240 + ".png"]


@pytest.mark.parametrize("links", [True, False])
def test_one_of_many_writers_wins(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pass the first check, then take the name at once; with and without hard links."""

    def no_links(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def write(index: int) -> None:
        try:
            with atomic_path(tmp_path / "out.bin") as temp:
                temp.write_bytes(bytes([index]))
                barrier.wait()
            outcomes.append(str(index))
        except OutputExistsError:
            outcomes.append("exists")

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome != "exists"]
    assert len(outcomes) == 8
    assert len(winners) == 1
    assert (tmp_path / "out.bin").read_bytes() == bytes([int(winners[0])])
    assert len(list(tmp_path.iterdir())) == 1


def test_failure_without_hard_links_frees_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError), atomic_path(tmp_path / "out.bin") as temp:
        temp.write_bytes(b"x")
    assert not list(tmp_path.iterdir())


def test_bad_targets(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, word in (("", "folder"), ("none/x", "create it"), ("file/x", "create it"), ("dangling", "exists")):
        with pytest.raises(OutputError, match=word), atomic_path(f"{tmp_path}/{name}") as temp:
            temp.write_bytes(b"x")
    with pytest.raises(OutputError), atomic_path(tmp_path / ("n" * 300)) as temp:
        temp.write_bytes(b"x")
    assert {file.name for file in tmp_path.iterdir()} == {"file", "dangling"}


class HeldError(PermissionError):
    """What Windows raises for a file that another program has open."""

    def __init__(self, code: int = 32) -> None:
        super().__init__(errno.EACCES, "in use by another process")
        self.winerror = code


class TestHeldFiles:
    """Scanners and viewers hold files on Windows, most of them for a moment."""

    @pytest.fixture(autouse=True)
    def no_waiting(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """A clock that goes on while `patiently` sleeps, and what it slept."""
        slept: list[float] = []
        clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
        monkeypatch.setattr(patience, "time", clock)
        return slept

    @pytest.mark.parametrize("code", [5, 32])
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_one_that_is_let_go_is_written(
        self, code: int, overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, attempts, replace = tmp_path / "out.png", count(), Path.replace
        if overwrite:
            path.write_bytes(b"old")

        def held(self: Path, target: Path) -> Path:
            if next(attempts) < 3:
                raise HeldError(code)
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", held)
        monkeypatch.delattr(os, "link")  # the way that needs `replace`
        with atomic_path(path, overwrite=overwrite) as temp:
            temp.write_bytes(b"new")
        assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("out.png", b"new")]

    def test_one_that_is_kept_open_is_given_up_in_time(
        self, no_waiting: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "out.png"
        path.write_bytes(b"old")

        def held(*_: Any) -> None:
            raise HeldError

        monkeypatch.setattr(Path, "replace", held)
        with pytest.raises(OutputError, match="close it there"), atomic_path(path, overwrite=True) as temp:
            temp.write_bytes(b"new")
        assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("out.png", b"old")]
        assert 1 < sum(no_waiting) <= patience.PATIENCE

    def test_other_errors_are_not_waited_for(self, no_waiting: list[float]) -> None:
        def denied() -> None:
            raise PermissionError(errno.EACCES, "no permission")

        with pytest.raises(PermissionError):
            patience.patiently(denied)
        assert not no_waiting

    def test_a_release_folder_waits_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        staging, attempts, rename = Staging(tmp_path / "out", "key", "file"), count(), Path.rename
        staging.open()
        (staging.folder / "file").write_bytes(b"x")

        def held(self: Path, target: Path) -> Path:
            if next(attempts) % 3 < 2:
                raise HeldError(5)
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", held)
        staging.publish(overwrite=False)
        assert (tmp_path / "out" / "file").read_bytes() == b"x"


@pytest.mark.skipif(os.name == "nt", reason="Windows flushes no folders")
@pytest.mark.parametrize("step", ["open", "fsync"])
@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_flushed_is_no_error(
    number: int, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network shares, sandboxes, and folders that may be written but not read."""
    real = getattr(os, step)

    def refused(target: Any, *rest: Any) -> Any:
        if Path(target).is_dir() if step == "open" else stat.S_ISDIR(os.fstat(target).st_mode):
            raise OSError(number, os.strerror(number))
        return real(target, *rest)

    monkeypatch.setattr(os, step, refused)
    with atomic_path(tmp_path / "out.png") as temp:
        temp.write_bytes(b"x")
    monkeypatch.undo()
    assert (tmp_path / "out.png").read_bytes() == b"x"


def test_a_folder_on_a_broken_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def broken(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, "broken")
        real(handle)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OutputError, match="broken"), atomic_path(tmp_path / "out.png") as temp:
        temp.write_bytes(b"x")
