"""Two hundred prompts, cancelled at random, with models and sizes that change: nothing leaks, sticks or is wrong."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.comfyui.server import Server
from tests.comfyui.subjects import FUSIBLE, RANDOM, SHIPPED, assert_saved, expected, saved
from tests.comfyui.test_workflows import model_file, upscaling
from tests.measuring import note

pytestmark = [pytest.mark.comfyui, pytest.mark.exhaustive]

PROMPTS, BURST = 200, 10
SIZES = ((48, 36), (64, 64), (200, 120), (33, 257), (320, 240), (400, 300))
TILES = ("auto", "untiled", "128")
LEAK = 150 * 2**20
"""Growth of the server's memory from a quarter of the prompts to their end."""


def pixels(size: tuple[int, int]) -> NDArray[np.uint8]:
    """A smooth picture with edges."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.stack([rows * 2, columns * 2, (rows // 9 + columns // 9) % 2 * 255], -1).astype(np.uint8)


def memory(process: int) -> int:
    """Resident bytes."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def queue(server: Server) -> tuple[list[str], list[str]]:
    """Numbers of the prompts that run and that wait."""
    state = server.get("/queue")
    return [item[1] for item in state["queue_running"]], [item[1] for item in state["queue_pending"]]


def cancel(server: Server, chance: random.Random) -> str | None:
    """Interrupt what runs or drop something that waits; the number of what was dropped."""
    running, waiting = queue(server)
    if waiting and chance.random() < 0.5:
        number = chance.choice(waiting)
        server.post("/queue", {"delete": [number]})
        return number if number not in waiting_now(server) else None
    if running:
        server.post("/interrupt", {})
    return None


def waiting_now(server: Server) -> list[str]:
    """Numbers of all prompts that are in the queue."""
    running, waiting = queue(server)
    return running + waiting


def wait_until_empty(server: Server, seconds: float = 600) -> None:
    """Wait for the queue.

    Raises:
        AssertionError: a prompt is stuck.
    """
    deadline = time.monotonic() + seconds
    while any(queue(server)):
        assert time.monotonic() < deadline, f"stuck:\n{server.tail()}"
        time.sleep(0.2)


def check(server: Server, number: str, asked: tuple[str, tuple[int, int]], exact: Any) -> str:
    """How a prompt ended; its picture is compared where it was finished."""
    entry = server.get(f"/history/{number}").get(number)
    if entry is None:
        return "dropped"
    if entry["status"]["status_str"] != "success":
        messages = {name for name, _ in entry["status"]["messages"]}
        assert "execution_interrupted" in messages, entry["status"]["messages"]
        return "interrupted"
    image = entry["outputs"]["4"]["images"][0]
    assert_saved(saved(server.base / "output" / image["filename"]), exact(*asked))
    return "finished"


def test_soak(server: Server) -> None:
    chance, ends, dropped = random.Random(9), Counter[str](), set[str]()
    for size in SIZES:
        Image.fromarray(pixels(size)).save(server.base / f"input/soak_{size[0]}x{size[1]}.png")

    @cache
    def exact(model: str, size: tuple[int, int]) -> Any:
        return expected(model_file(server, model), pixels(size))

    process, measured, begun = server.process, list[int](), time.monotonic()
    for first in range(0, PROMPTS, BURST):
        asked: dict[str, tuple[str, tuple[int, int]]] = {}
        for index in range(first, first + BURST):
            model, size = chance.choice((RANDOM, FUSIBLE, SHIPPED)), chance.choice(SIZES)
            picture = f"soak_{size[0]}x{size[1]}.png"
            workflow = upscaling(f"soak_{index}", model=model, image=picture, tile=chance.choice(TILES))
            asked[server.submit(workflow)] = (model, size)
        for _ in range(chance.randrange(4)):
            time.sleep(chance.random() * 0.4)
            dropped.add(cancel(server, chance) or "")
        wait_until_empty(server)
        for number, what in asked.items():
            end = check(server, number, what, exact)
            assert (end == "dropped") == (number in dropped)
            ends[end] += 1
        measured.append(memory(process))
    assert sum(ends.values()) == PROMPTS
    assert ends["finished"] > PROMPTS / 2
    assert ends["interrupted"] + ends["dropped"] > 5
    growth = measured[-1] - measured[len(measured) // 4]
    assert growth < LEAK, measured
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    what = f"{told}; memory {growth / 2**20:+.0f} MiB from prompt 60 to 200"
    note("ComfyUI, prompts", PROMPTS, what, seconds=time.monotonic() - begun, peak=max(measured))
