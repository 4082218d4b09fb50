"""Names in workflows and files do not lead out of the folders that they belong to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from nodes import export_onnx, quantize_int8
from nodes.card import page
from nodes.export_onnx import ExportOnnx
from nodes.quantize_int8 import QuantizeInt8
from nodes.save_model import SaveModel
from nodes.upscale_video import UpscaleVideo
from paragon_arch.errors import InvalidOptionError, ParagonError
from paragon_arch.files.atomic import atomic_path
from paragon_engine.jobs import FolderOptions, upscale_files
from paragon_engine.jobs.report import write_report
from paragon_engine.release.staging import Staging
from tests.engine_models import descriptor, upscaler
from tests.hostile.hostile_names import NAMES
from tests.hostile.hostile_pictures import noise
from tests.measuring import note
from tests.nodes.conftest import host  # noqa: F401  # pyright: ignore[reportUnusedImport]  (a fixture)
from tests.nodes.stand_in import Host, VideoFromFile


def everything(folder: Path) -> set[str]:
    """All files and folders below a folder, links not followed."""
    return {str(Path(place) / name) for place, folders, files in os.walk(folder) for name in folders + files}


def with_links(folder: Path) -> None:
    """Links out of a folder, to a folder and to a file, and one to itself."""
    folder.mkdir(parents=True, exist_ok=True)
    outside = folder.parent.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "file.safetensors").write_bytes(b"of somebody else")
    (folder / "link").symlink_to(outside)
    (folder / "file_link.safetensors").symlink_to(outside / "file.safetensors")
    (folder / "file_link.onnx").symlink_to(outside / "file.safetensors")
    (folder / "loop").symlink_to(folder / "loop")


def _save(name: str) -> str:
    return SaveModel().save(descriptor(), name, "output", overwrite=True)[0]


def _export(name: str) -> str:
    return ExportOnnx().export(descriptor(), name, "output", overwrite=True, precision="fp32", opset=18)[0]


def _quantize(name: str) -> str:
    images = torch.zeros(1, 8, 8, 3)
    return QuantizeInt8().quantize(descriptor(), images, name, "output", True, "minmax", 0.25, False)[0]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes long is left out: an empty file is written where its result would be."""

    class Report:
        written = True

    def quantize(_model: object, _pictures: object, path: Path, **_: Any) -> Report:
        with atomic_path(path, overwrite=True) as temp:
            temp.write_bytes(b"")
        return Report()

    def export(_checkpoint: Path, folder: Path, *_: Any, **options: Any) -> Any:
        raise NotThereError(str(folder))

    monkeypatch.setattr(quantize_int8, "quantize", quantize)
    monkeypatch.setattr(quantize_int8, "_described", str)
    monkeypatch.setattr(export_onnx, "export_checkpoint", export)
    monkeypatch.setattr(export_onnx, "photographs", list[object])


class NotThereError(ParagonError):
    """Where an export would have been written."""


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("write", [_save, _export, _quantize])
def test_nodes_write_inside_their_folder(write: Callable[[str], str], host: Host) -> None:  # noqa: F811
    output = host.base / "output"
    with_links(output)
    outside = everything(host.base.parent) - everything(output)
    written = refused = 0
    for name in NAMES:
        try:
            place = write(name)
        except NotThereError as error:
            place = str(error)
        except ParagonError:
            refused += 1
            continue
        written += 1
        assert Path(os.path.realpath(place)).is_relative_to(output.resolve()), name
    left = {path for path in everything(host.base.parent) - outside if not Path(path).is_relative_to(output)}
    assert {path for path in left if not path.startswith(str(host.base / "temp"))} == set()
    assert (host.base.parent / "outside/file.safetensors").read_bytes() == b"of somebody else"
    assert not Path("/tmp/paragonsr_evil.safetensors").exists()
    assert refused >= 40
    assert written >= 10
    note(f"names for {write.__name__.strip('_')} nodes", len(NAMES), f"{refused} refused, {written} inside the folder")


def test_names_of_cards(host: Host) -> None:  # noqa: F811  (the fixture)
    (host.base / "secret.md").write_text("secret", encoding="utf-8")
    for name in (*NAMES, "../../secret", "../../secret.md"):
        status, text = page({"model": name})
        assert status == 404
        assert "secret" not in text.replace("../../secret", "")
        assert "<script>" not in text


def test_containers_that_are_paths(host: Host, tmp_path: Path) -> None:  # noqa: F811  (the fixture)
    options: dict[str, Any] = {"resize": "model scale", "factor": 2.0, "width": 0, "height": 0, "tile": "auto"}
    options |= {"precision": "auto", "feedback": 0.0, "codec": "auto", "quality": -1}
    source = cast("Any", VideoFromFile("none.mp4"))
    before = everything(tmp_path)
    for name in NAMES:
        with pytest.raises(InvalidOptionError, match="container"):
            UpscaleVideo().upscale(descriptor(), source, container=f"/../{name}.mp4", **options)
    assert everything(tmp_path) == before


def test_pictures_with_hostile_names(tmp_path: Path) -> None:
    """Results lie in the folder for them; the report's page shows names as text."""
    given, out = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    legal = [name for name in NAMES if not set(name) & set("/\0\ud800") and 0 < len(name) < 200]
    legal = [name for name in legal if not name.startswith(".")]  # hidden files are no pictures
    for name in legal:
        (given / f"{name}.png").write_bytes(noise("PNG"))
    summary = upscale_files(upscaler(), given, out, options=FolderOptions())
    assert len(summary.done) == len(legal)
    assert not summary.failed
    assert all(path.resolve().parent == out.resolve() for path in summary.done)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    write_report(summary.pairs, out / "report.html")
    assert "<script>alert" not in (out / "report.html").read_text(encoding="utf-8")
    note("pictures with hostile names", len(legal), "every result in its folder")


def test_a_journal_that_names_other_files(tmp_path: Path) -> None:
    """A step counts as done only for files of its own folder."""
    (tmp_path / "secret").write_text("x", encoding="utf-8")
    staging, ran = Staging(tmp_path / "release", "key", "card"), list[int]()
    staging.open()

    def work() -> dict[str, Any]:
        ran.append(1)
        return {"file": "../secret"}

    for _ in range(2):
        staging.step("card", work, lambda result: [result["file"]])
    assert len(ran) == 2
