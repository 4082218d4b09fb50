"""Two processes that make the same thing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paragon_arch.errors import OutputError
from paragon_arch.files.lock import exclusive
from paragon_engine.jobs import folder, report, upscale_files
from paragon_engine.pictures import read_image, write_image
from paragon_engine.release import run
from paragon_engine.release.run import release
from paragon_engine.release.settings import ReleaseSettings
from paragon_engine.video import upscale_video
from tests.engine_models import checkpoint, upscaler
from tests.hostile.hostile_pictures import noise, video
from tests.measuring import ROOT, note

_HOLDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from paragon_arch.files.lock import exclusive
with exclusive(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Generator[subprocess.Popen[str], None, None]:
    """Another process that holds a lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", _HOLDER, str(path), str(ROOT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_video_that_another_process_makes(tmp_path: Path) -> None:
    pytest.importorskip("av")
    video(tmp_path / "in.mp4")
    target = tmp_path / "out.mp4"
    with held(tmp_path / "out.mp4.parts/lock") as other:
        with pytest.raises(OutputError, match="another process"):
            upscale_video(upscaler(), tmp_path / "in.mp4", target)
        other.kill()  # a lock does not outlive its process
        other.wait()
        assert upscale_video(upscaler(), tmp_path / "in.mp4", target).frames == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_release_that_another_process_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ReleaseSettings(checkpoint(tmp_path / "2x_tiny.safetensors"), tmp_path / "release", speed=False)

    def unwanted(*_: object) -> None:
        pytest.fail("worked without the lock")

    monkeypatch.setattr(run, "_make", unwanted)
    with held(tmp_path / ".release.release.lock"), pytest.raises(OutputError, match="another process"):
        release(settings)
    assert not (tmp_path / "release").exists()


def test_the_lock_leaves_no_file(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", "it"):
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]
        with pytest.raises(OutputError, match="it: another process"), exclusive(tmp_path / "lock", "it"):
            pass
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="cannot be written"), exclusive(tmp_path / "none/lock", "it"):
        pass


def test_a_picture_that_another_process_finished_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the folder and the writing; its file stays as it is."""
    (tmp_path / "a.png").write_bytes(noise("PNG"))
    upscale, target = folder.upscale_picture, tmp_path / "out/a.png"

    def while_another_writes(*arguments: Any, **options: Any) -> Any:
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"of the other")
        return upscale(*arguments, **options)

    monkeypatch.setattr(folder, "upscale_picture", while_another_writes)
    summary = upscale_files(upscaler(), tmp_path / "a.png", tmp_path / "out")
    assert summary.skipped == [target]
    assert target.read_bytes() == b"of the other"


@pytest.mark.exhaustive
def test_two_commands_on_one_folder(tmp_path: Path) -> None:
    given, out, model = tmp_path / "in", tmp_path / "out", checkpoint(tmp_path / "2x.safetensors")
    given.mkdir()
    for index in range(40):
        (given / f"{index}.png").write_bytes(noise("PNG"))
    command = [sys.executable, "-m", "deploy", "upscale", str(given), "-o", str(out), "--model", str(model), "-q"]
    processes = [subprocess.Popen([*command, "--alpha", "0.3"], cwd=ROOT) for _ in range(4)]
    assert [process.wait(timeout=600) for process in processes] == [0] * 4
    assert len(list(out.iterdir())) == 40
    assert {read_image(path).size for path in out.iterdir()} == {(128, 96)}
    note("four processes on one folder", 40, "every result whole, every process content")


def test_a_report_says_that_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that cannot be read is left out; a page that lacks pictures because the disk is full is none."""
    (tmp_path / "a.png").write_bytes(noise("PNG"))
    write_image(read_image(tmp_path / "a.png"), tmp_path / "b.png")

    def full(*_: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(report, "_entry", full)
    with pytest.raises(OutputError, match="full"):
        report.write_report([(tmp_path / "a.png", tmp_path / "b.png")], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
