"""Everything in the product that writes files, as functions of a folder that always give the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import paragon_arch
from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_arch.errors import OutputError
from paragon_engine.jobs import FolderOptions, upscale_files
from paragon_engine.jobs.report import write_report
from paragon_engine.packages import require
from paragon_engine.pictures import Picture, write_image
from paragon_engine.release.staging import MANIFEST, Staging
from paragon_engine.tiling import upscale_tensor
from paragon_engine.upscale import UpscaleSettings
from paragon_engine.video import EncodeOptions, VideoSettings, upscale_video
from tests.engine_models import checkpoint, descriptor, upscaler
from tests.hostile.hostile_pictures import video

OLD = b"what was there before"
RELEASED = b'{"key": "key", "files": {"card.md": {}}}'
"""A manifest by which a folder is known for a release."""


@dataclass(frozen=True)
class Writer:
    """A piece of work."""

    run: Callable[[Path, Path], None]
    """Takes the folder of inputs and the folder to write into."""
    results: tuple[str, ...]
    """Files that it makes, or replaces."""
    replaces: bool = True
    """Whether files of those names were there before."""
    keeps: tuple[str, ...] = field(default=())
    """Beginnings of names of what a failed run leaves on purpose, for the next one to go on with."""
    marks: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Old results whose content says that a folder is ours, and may be replaced."""

    def before(self, name: str) -> bytes | None:
        """What was in a result's place."""
        return self.marks.get(name, OLD) if self.replaces else None


def inputs(folder: Path) -> None:
    """A model, two pictures and a video."""
    checkpoint(folder / "2x_model.safetensors")
    for name in ("a.png", "b.png"):
        write_image(_picture(name), folder / name)
    video(folder / "in.mp4")


def _picture(name: str, bits: int = 8) -> Picture:
    pixels = np.random.default_rng(len(name) + bits).random((24, 32, 3), dtype=np.float32)
    return Picture(pixels)


def _save(_given: Path, out: Path) -> None:
    model = descriptor()
    paragon_arch.save(model, out / "saved.safetensors", overwrite=True)


def _fuse(given: Path, out: Path) -> None:
    arguments = [str(given / "2x_model.safetensors"), "-o", str(out / "fused.safetensors"), "--alpha", "0.3", "-q"]
    code = main(["fuse", *arguments, "--overwrite"])
    if code == ExitCode.OUTPUT:
        raise OutputError("as the exit code says")
    assert code == ExitCode.OK, code


def _pictures(_given: Path, out: Path) -> None:
    for name in PICTURES:
        write_image(_picture(name, 16 if "16" in name else 8), out / name, overwrite=True)


def _new_picture(_given: Path, out: Path) -> None:
    """Without leave to replace."""
    write_image(_picture("a"), out / "new.png")


def _folder(given: Path, out: Path) -> None:
    options = FolderOptions(compare=True, overwrite=True)
    summary = upscale_files(upscaler(), [given / "a.png", given / "b.png"], out, UpscaleSettings(), options)
    for _, error in summary.failed:
        raise error
    write_report([(given / "a.png", out / "a.png")], out / "report.html", overwrite=True)


def _video(given: Path, out: Path) -> None:
    settings = VideoSettings(encode=EncodeOptions(codec="h264"), segment=4)
    upscale_video(upscaler(), given / "in.mp4", out / "out.mp4", settings, overwrite=True)


def _release(_given: Path, out: Path) -> None:
    staging = Staging(out / "release", "key", "card")
    staging.open()

    def work() -> dict[str, Any]:
        (staging.folder / "card.md").write_text("card", encoding="utf-8")
        (staging.folder / MANIFEST).write_bytes(RELEASED)
        return {"files": ["card.md", MANIFEST]}

    try:
        staging.step("card", work, lambda result: result["files"])
    except OSError as error:
        raise OutputError(str(error)) from error
    staging.publish(overwrite=True)


def _staged_maps(_given: Path, out: Path) -> None:
    """Feature maps in files, then a result."""
    x = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    result = upscale_tensor(upscaler(), x, tile=32)
    write_image(Picture(result[0].permute(1, 2, 0).numpy()), out / "maps.png", overwrite=True)


PICTURES = ("p.png", "p16.png", "p.tif", "p16.tif", "p.jpg", "p.webp", "p.avif", "p.bmp")
FOLDER = ("a.png", "a.compare.jpg", "b.png", "b.compare.jpg", "report.html")
WRITERS: dict[str, Writer] = {
    "save": Writer(_save, ("saved.safetensors",)),
    "fuse": Writer(_fuse, ("fused.safetensors",)),
    "pictures": Writer(_pictures, PICTURES),
    "new_picture": Writer(_new_picture, ("new.png",), replaces=False),
    "folder": Writer(
        _folder, ("a.png", "a.compare.jpg", "b.png", "b.compare.jpg", "report.html"), keeps=("report_files",)
    ),
    "video": Writer(_video, ("out.mp4",), keeps=("out.mp4.parts",)),
    "release": Writer(
        _release,
        ("release/card.md", f"release/{MANIFEST}"),
        keeps=(".release.",),
        marks={f"release/{MANIFEST}": RELEASED},
    ),
    "tiles": Writer(_staged_maps, ("maps.png",)),
}


def prepare(out: Path, writer: Writer) -> None:
    """An empty folder, or one with old results."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for name in writer.results if writer.replaces else ():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(writer.before(name) or b"")


for _name in ("av", "PIL.Image", "PIL.AvifImagePlugin", "PIL.WebPImagePlugin"):
    require(_name, "the test")
