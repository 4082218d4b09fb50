"""Every Python example in the documents is run, page by page and in order, as a reader would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import paragon_arch
from deploy.cli import main
from paragon_engine.inference import inference_form
from tests.docs.pages import PAGES, ROOT, fences
from tests.docs.stand_ins import model, picture, shipped
from tests.video_files import make_video

SNIPPETS = {
    page.relative_to(ROOT).as_posix(): code
    for page in PAGES
    if (code := [text for language, text in fences(page.read_text(encoding="utf-8")) if language == "python"])
}
Names = dict[str, Any]


def deployment(folder: Path) -> Names:
    """The page exports the file before."""
    assert main(["export", "2x_model.safetensors", "-o", str(folder), "--precision", "fp32", "-q"]) == 0
    return {"image": np.zeros((1, 3, 16, 24), np.float32)}


def inference(_: Path) -> Names:
    return {"model": paragon_arch.load("2x_model.safetensors")}


def quantization(_: Path) -> Names:
    return {"paragon_arch": paragon_arch, "batches": [torch.rand(1, 3, 24, 24)]}


def readme(_: Path) -> Names:
    return {"image": torch.rand(1, 3, 16, 24)}


def video(folder: Path) -> Names:
    make_video(folder / "clip.mp4", 4)
    frames = [torch.rand(1, 3, 16, 24) for _ in range(3)]
    return {"Path": Path, "model": paragon_arch.load("2x_model.safetensors"), "frames": frames}


GIVEN: dict[str, Callable[[Path], Names]] = {
    "README.md": readme,
    "docs/deployment.md": deployment,
    "docs/inference.md": inference,
    "docs/quantization.md": quantization,
    "docs/video.md": video,
}
"""What a page takes for granted."""


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path / "cache"))
    shipped(tmp_path)
    for name in ("2x_model.safetensors", "2x.safetensors", "2xParagonSR2_Nano.safetensors"):
        model(tmp_path / name)
    picture(tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.parametrize("page", SNIPPETS)
def test_python_example_runs(page: str, scratch: Path) -> None:
    if page == "docs/deployment.md":
        for package in ("onnxruntime", "openvino"):
            pytest.importorskip(package)
    names = GIVEN.get(page, lambda _: {})(scratch)
    for code in SNIPPETS[page]:
        exec(compile(code, page, "exec"), names)
    if "enlarged" in names:
        assert names["enlarged"].shape[-2:] == (32, 48)


def test_getting_started_makes_a_picture(scratch: Path) -> None:
    for code in SNIPPETS["docs/getting-started.md"]:
        exec(compile(code, "docs/getting-started.md", "exec"), {})
    assert (scratch / "photo-2x.png").is_file()


def test_inference_form_of_the_page_has_the_passes_that_it_names() -> None:
    form = inference_form(paragon_arch.load("2x_model.safetensors").model)
    assert form.applied.keys() >= {"layer_scale_fold", "tail_merged"}
