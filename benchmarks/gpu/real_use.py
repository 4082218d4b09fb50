"""What users do: folders, videos, a node's picture; and where the time of one picture goes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from . import adapter
from .measuring import smooth, synchronize, timed
from .schedule import Case, Values

PART = "real use"


def cases(device: torch.device, *, tiny: bool) -> Iterator[Case]:
    """All of this part."""
    count, frames, size = (2, 6, (48, 64)) if tiny else (20, 120, (720, 1280))
    yield Case(PART, f"one picture of {size[1]} x {size[0]}, split", partial(split, size, device), 1)
    yield Case(PART, f"{count} pictures of {size[1]} x {size[0]}", partial(pictures, count, size, device), 1)
    yield Case(PART, f"the node, {size[1]} x {size[0]}", partial(node, size, device), 2)
    if find_spec("av") is not None:
        yield Case(PART, f"{frames} frames of {size[1]} x {size[0]}", partial(video, frames, size, device), 2)
    if device.type == "cuda":
        yield Case(PART, "8192 x 8192 to 16384 x 16384 in exact tiles", partial(large, device), 3)


def _model(device: torch.device) -> Any:
    precision: adapter.Precision = "fp16" if device.type == "cuda" else "fp32"
    return adapter.prepared(adapter.shipped().to(device), precision)


def split(size: tuple[int, int], device: torch.device) -> Values:
    """Milliseconds of the plan, the upload, the network, the download, and everything together."""
    model, x = _model(device), smooth(*size)
    there = x.to(device)
    with torch.inference_mode():
        result = model(there)
        parts = {
            "plan": timed(lambda: adapter.planned(model, x), device)["wall_ms"],
            "upload": timed(lambda: x.to(device), device)["wall_ms"],
            "network": timed(lambda: model(there), device)["wall_ms"],
            "download": timed(lambda: result.to("cpu", torch.float32), device)["wall_ms"],
        }
    pixels = np.ascontiguousarray(x[0].permute(1, 2, 0).numpy())
    whole = timed(lambda: adapter.upscale_pixels(model, pixels), device)["wall_ms"]
    host = max(0.0, 1 - sum(parts[name] for name in ("upload", "network", "download")) / whole)
    return {**parts, "whole": whole, "host_share": round(host, 3)}


def pictures(count: int, size: tuple[int, int], device: torch.device) -> Values:
    """A folder of PNG files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for index in range(count):
            pixels = (smooth(*size, seed=index)[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "in" / f"{index}.png", compress_level=1)
        model = _model(device)
        began = time.perf_counter()
        done = adapter.upscale_folder(model, folder / "in", folder / "out")
        seconds = time.perf_counter() - began
        written = len(list((folder / "out").glob("*.png")))
    return {"seconds": seconds, "per_second": count / seconds, "passed": done == written == count}


def node(size: tuple[int, int], device: torch.device) -> Values:
    """The picture through the node's worker."""
    pixels = np.ascontiguousarray(smooth(*size)[0].permute(1, 2, 0).numpy())
    with (
        tempfile.TemporaryDirectory() as name,
        adapter.node_worker(adapter.shipped(), device, Path(name)) as work,
    ):
        return timed(lambda: work(pixels), device)


def video(frames: int, size: tuple[int, int], device: torch.device) -> Values:
    """An H.264 file, decoded, upscaled and encoded."""
    import av

    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in.mp4", Path(name) / "out.mp4"
        with av.open(str(source), "w") as container:
            stream: Any = container.add_stream("libx264", rate=24)
            stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
            base = (smooth(*size)[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype(np.uint8)
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(np.roll(base, 2 * index, axis=1), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        model = _model(device)
        began = time.perf_counter()
        adapter.upscale_video(model, source, target)
        synchronize(device)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "frames_per_second": frames / seconds, "passed": target.is_file()}


def large(device: torch.device) -> Values:
    """Memory of a picture that no card holds at once."""
    model = adapter.prepared(adapter.described(adapter.official("v2-release", "stream", 2), device), "fp16")
    x = torch.rand(1, 3, 8192, 8192)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    adapter.upscaled(model, x, tile=1024)
    taken = torch.cuda.max_memory_reserved()
    return {"seconds": time.perf_counter() - began, "reserved": taken, "passed": taken <= 8 << 30}
