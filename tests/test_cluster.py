"""The job on a real Ray cluster of this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paragon_engine.jobs import FolderOptions
from paragon_engine.model_source import ModelSource
from paragon_engine.pictures import read_image
from paragon_engine.progress import Progress
from tests.engine_models import checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray warns of many things of its own
]
ray: Any = pytest.importorskip("ray", reason="Ray is not installed: pip install 'comfyui-paragonsr[cluster]'")
pytest.importorskip("ray.data", reason="Ray Data is not installed: pip install 'comfyui-paragonsr[cluster]'")

from paragon_engine.jobs.cluster import upscale_on_cluster  # noqa: E402 - after the skip

FILES = 24


@pytest.fixture(scope="module")
def cluster() -> Generator[None, None, None]:
    root = str(Path(__file__).resolve().parent.parent)
    environment = {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment})
    yield
    ray.shutdown()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(FILES):
        name = f"deep/{index:02}.png" if index % 2 else f"{index:02}.jpg"
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(folder / name)
    return folder


def workers_of_ours() -> list[int]:
    """Processes of Ray Data's actors below this process."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                grandparent = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if title.startswith(b"ray::") and b"MapWorker" in title and grandparent == os.getpid():
                found.append(int(entry.name))
    return found


class Killer(Progress):
    """Kills a worker once some files are done."""

    killed: int | None = None

    def advance(self, amount: float = 1.0, *, label: str | None = None) -> None:
        super().advance(amount, label=label)
        if self.done >= 3 and self.killed is None and (workers := workers_of_ours()):
            self.killed = workers[0]
            os.kill(self.killed, signal.SIGKILL)


@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_costs_no_file(tmp_path: Path, pictures: Path) -> None:
    (pictures / "bad.png").write_bytes(b"no picture")
    model = ModelSource(checkpoint(tmp_path / "2x.safetensors"), device="cpu")
    progress, target = Killer(), tmp_path / "out"
    summary = upscale_on_cluster(
        model, [pictures], target, options=FolderOptions(recursive=True), workers=2, progress=progress
    )
    assert progress.killed is not None
    assert [source.name for source, _ in summary.failed] == ["bad.png"]
    assert len(summary.done) + len(summary.skipped) == FILES
    results = sorted(path for path in target.rglob("*") if path.is_file() and not path.name.startswith("."))
    assert len(results) == FILES
    assert {read_image(path).size for path in results} == {(128, 96)}


@pytest.mark.usefixtures("cluster")
def test_addresses_are_fetched_and_sent(tmp_path: Path, pictures: Path) -> None:
    model = ModelSource(checkpoint(tmp_path / "2x.safetensors"), device="cpu")
    options = FolderOptions(recursive=True, extension=".webp")
    for done, skipped in ((FILES, 0), (0, FILES)):
        summary = upscale_on_cluster(model, [f"file://{pictures}"], f"file://{tmp_path}/out", None, options, workers=2)
        assert (len(summary.done), len(summary.skipped), summary.failed) == (done, skipped, [])
    assert len(list((tmp_path / "out").rglob("*.webp"))) == FILES
