"""What we delete has our names and lies in folders with our mark; a file of a user never goes, nor through a link."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paragon_arch.errors import InvalidOptionError, OutputError, OutputExistsError
from paragon_arch.files import atomic
from paragon_arch.files.atomic import atomic_path, remove_leftovers
from paragon_arch.files.lock import exclusive
from paragon_arch.files.ours import refuse_strangers, remove_ours
from paragon_engine.release.settings import read_manifest
from paragon_engine.release.staging import Staging
from paragon_engine.video import upscale_video
from tests.engine_models import upscaler
from tests.hostile.hostile_pictures import video
from tests.measuring import ROOT

PRECIOUS = b"made by a user"
links = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks whether a process lives")


def precious(path: Path) -> Path:
    """A file of a user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PRECIOUS)
    return path


def staging(folder: Path) -> Staging:
    return Staging(folder / "out", "key", "card")


def finish(work: Staging, *, overwrite: bool = False) -> None:
    """A whole release of one card and its manifest."""
    work.check_replaceable()
    work.open()

    def write() -> dict[str, Any]:
        (work.folder / "card.md").write_text("card", encoding="utf-8")
        manifest: dict[str, Any] = {"key": "key", "files": {"card.md": {}}}
        (work.folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return {"files": ["card.md", "manifest.json"]}

    work.step("card", write, lambda result: result["files"])
    work.publish(overwrite=overwrite)


# --- videos ------------------------------------------------------------------------------------------------------


def test_a_file_of_a_user_among_the_segments_stops_the_work(tmp_path: Path) -> None:
    pytest.importorskip("av")
    video(tmp_path / "in.mp4")
    notes = precious(tmp_path / "out.mp4.parts/notes.txt")
    (tmp_path / "out.mp4.parts/job").write_text("of an earlier run", encoding="ascii")
    with pytest.raises(OutputExistsError, match=r"notes\.txt"):
        upscale_video(upscaler(), tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert notes.read_bytes() == PRECIOUS
    assert not (tmp_path / "out.mp4").exists()


def test_a_file_that_appears_among_the_segments_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    from paragon_engine.video import job

    video(tmp_path / "in.mp4")
    notes, join = tmp_path / "out.mp4.parts/notes.txt", job.join

    def meanwhile(*arguments: Any, **options: Any) -> None:
        precious(notes)
        join(*arguments, **options)

    monkeypatch.setattr(job, "join", meanwhile)
    upscale_video(upscaler(), tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert [path.name for path in notes.parent.iterdir()] == ["notes.txt"]
    assert notes.read_bytes() == PRECIOUS


@links
def test_segments_are_not_written_through_a_link(tmp_path: Path) -> None:
    pytest.importorskip("av")
    video(tmp_path / "in.mp4")
    notes = precious(tmp_path / "documents/job")
    (tmp_path / "out.mp4.parts").symlink_to(tmp_path / "documents")
    with pytest.raises(OutputExistsError, match="link"):
        upscale_video(upscaler(), tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert [path.read_bytes() for path in (tmp_path / "documents").iterdir()] == [notes.read_bytes()] == [PRECIOUS]


# --- releases ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [".out.release/notes.txt", ".out.previous/notes.txt", ".out.release.json", ".out.release"]
)
def test_what_is_in_the_way_of_a_release_stops_it(name: str, tmp_path: Path) -> None:
    notes = precious(tmp_path / name)
    with pytest.raises(OutputExistsError, match=r"in the way"):
        staging(tmp_path).open()
    assert notes.read_bytes() == PRECIOUS


def test_a_file_of_a_user_in_the_hidden_folder_stops_it(tmp_path: Path) -> None:
    staging(tmp_path).open()
    notes = precious(tmp_path / ".out.release/notes.txt")
    for work in (staging(tmp_path), Staging(tmp_path / "out", "another key", "other")):
        with pytest.raises(OutputExistsError, match=r"notes\.txt"):
            work.open()
    staging(tmp_path).discard()
    assert notes.read_bytes() == PRECIOUS


@links
@pytest.mark.parametrize("name", [".out.release", ".out.previous", "out", ".out.release.json", ".out.release.lock"])
def test_no_link_is_followed_or_replaced(name: str, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    notes = precious(documents / "notes.txt")
    (tmp_path / name).symlink_to(notes if "." in name[5:] else documents)
    with pytest.raises(OutputExistsError, match="link"), exclusive(staging(tmp_path).lock, "it"):
        staging(tmp_path).open()
    assert (tmp_path / name).is_symlink()
    assert notes.read_bytes() == PRECIOUS


def nothing(folder: Path) -> None:
    """Leave the folder as it is."""


def released(folder: Path) -> None:
    finish(Staging(folder, "key", "card"))


@pytest.mark.parametrize("prepare", [nothing, released])
def test_overwriting_replaces_releases_only(prepare: Callable[[Path], None], tmp_path: Path) -> None:
    prepare(tmp_path / "out")
    notes = precious(tmp_path / "out/notes.txt")
    with pytest.raises(OutputExistsError, match=r"notes\.txt"):
        finish(staging(tmp_path), overwrite=True)
    assert notes.read_bytes() == PRECIOUS


def test_a_release_replaces_another(tmp_path: Path) -> None:
    finish(Staging(tmp_path / "out", "old", "card"))
    finish(staging(tmp_path), overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["card.md", "manifest.json", "out"]


def test_a_file_that_appears_in_the_release_that_is_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(Staging(tmp_path / "out", "old", "card"))
    replace = Staging._replace  # pyright: ignore[reportPrivateUsage]

    def meanwhile(self: Staging) -> None:
        precious(tmp_path / "out/notes.txt")
        replace(self)

    monkeypatch.setattr(Staging, "_replace", meanwhile)
    finish(staging(tmp_path), overwrite=True)
    assert [path.read_bytes() for path in tmp_path.rglob("notes.txt")] == [PRECIOUS]


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "C:", "a ", "a.", "x" * 300, "a\nb", "nul?", "../other"]
)
def test_a_model_of_a_manifest_has_a_folder_of_its_own(name: str, tmp_path: Path) -> None:
    manifest = tmp_path / "m.toml"
    manifest.write_text(f'[[model]]\ncheckpoint = "2x.safetensors"\nname = {json.dumps(name)}\n', encoding="utf-8")
    with pytest.raises(InvalidOptionError, match="name of a folder"):
        read_manifest(manifest, tmp_path / "releases")


def test_two_models_of_a_manifest_are_two_folders_where_names_have_no_case(tmp_path: Path) -> None:
    manifest = tmp_path / "m.toml"
    models = [f'[[model]]\ncheckpoint = "2x.safetensors"\nname = "{name}"\n' for name in ("Model", "model")]
    manifest.write_text("".join(models), encoding="utf-8")
    with pytest.raises(InvalidOptionError, match="a name of its own"):
        read_manifest(manifest, tmp_path)


# --- temporary files and locks -----------------------------------------------------------------------------------


def temporary(folder: Path, process: int | str, host: str | None = None) -> Path:
    """As a process of this or another machine leaves it."""
    mark = atomic._host() if host is None else host  # pyright: ignore[reportPrivateUsage]
    return precious(folder / f".tmp-{mark}-{process}-0123456789ab.png")


@linux
def test_leftovers_of_the_dead_go_and_others_stay(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead = temporary(tmp_path, process.pid)
    stay = [temporary(tmp_path, os.getpid()), temporary(tmp_path, process.pid, "01234567"), temporary(tmp_path, 10**30)]
    stay += [temporary(tmp_path, "1" * 4000 if os.name == "nt" else "9" * 10), precious(tmp_path / ".tmp-notes")]
    remove_leftovers(tmp_path)
    assert not dead.exists()
    assert all(path.read_bytes() == PRECIOUS for path in stay)
    with atomic_path(tmp_path / "result.png") as temp:  # a huge process number stops nobody
        temp.write_bytes(b"x")


@links
def test_a_link_with_the_name_of_a_leftover_stays(tmp_path: Path) -> None:
    notes = precious(tmp_path / "notes.txt")
    link = tmp_path / ".tmp-01234567-1-0123456789ab.png"
    link.symlink_to(notes)
    os.utime(notes, (0, 0))
    remove_leftovers(tmp_path)
    assert link.is_symlink()
    assert notes.read_bytes() == PRECIOUS


_IN_CONTAINER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from paragon_arch.files.atomic import remove_leftovers
remove_leftovers(Path(sys.argv[1]))
"""


@linux
def test_a_container_of_the_same_name_leaves_our_files_alone(tmp_path: Path) -> None:
    """A new PID namespace, in which our process number means nothing."""
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    try:
        possible = subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("needs unshare and user namespaces")
    with atomic_path(tmp_path / "ours.png") as temp:
        temp.write_bytes(b"half of our work")
        subprocess.run([*command, sys.executable, "-c", _IN_CONTAINER, str(tmp_path), str(ROOT)], check=True)
        temp.write_bytes(b"all of our work")
    assert (tmp_path / "ours.png").read_bytes() == b"all of our work"


def test_the_mark_of_a_machine_tells_containers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = atomic._host.__wrapped__  # pyright: ignore[reportPrivateUsage, reportFunctionMemberAccess]
    here = mark()
    monkeypatch.setattr(atomic, "_NAMESPACE", Path("/proc/self/ns/none"))
    if sys.platform == "linux":
        assert len({here, mark(), mark()}) == 3


def test_a_lock_takes_no_file_of_a_user(tmp_path: Path) -> None:
    notes = precious(tmp_path / "lock")
    with pytest.raises(OutputError, match="not ours"), exclusive(notes, "it"):
        pass
    assert notes.read_bytes() == PRECIOUS


def test_a_name_without_hard_links_is_given_back_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no links, the name is reserved first; another's file that took its place stays."""
    final = tmp_path / "a.png"

    def failing(self: Path, _target: Path) -> Path:
        final.unlink()
        precious(final)
        raise PermissionError("busy")

    monkeypatch.delattr(os, "link")
    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OutputError), atomic_path(final) as temp:
        temp.write_bytes(b"ours")
    assert final.read_bytes() == PRECIOUS


# --- one rule ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
def test_overwriting_keeps_the_mode(tmp_path: Path) -> None:
    final = precious(tmp_path / "a.safetensors")
    final.chmod(0o600)
    with atomic_path(final, overwrite=True) as temp:
        temp.write_bytes(b"new")
    assert final.read_bytes() == b"new"
    assert stat.S_IMODE(final.stat().st_mode) == 0o600


@links
def test_only_files_with_our_names_go(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    ours = [precious(folder / name) for name in ("a.ours", "mark.ours")]
    notes = precious(tmp_path / "documents/notes.ours")
    (folder / "link.ours").symlink_to(notes)
    (folder / "inner.ours").mkdir()
    with pytest.raises(OutputExistsError, match="inner"):
        refuse_strangers(folder, lambda name: name.endswith(".ours"))
    assert not remove_ours(folder, lambda name: name.endswith(".ours"), last="mark.ours")
    assert not any(path.exists() for path in ours)
    assert sorted(path.name for path in folder.iterdir()) == ["inner.ours", "link.ours"]
    (tmp_path / "link").symlink_to(tmp_path / "documents")
    remove_ours(tmp_path / "link", lambda _: True)
    assert notes.read_bytes() == PRECIOUS
