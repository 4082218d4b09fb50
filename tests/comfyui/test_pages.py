"""Ten questions about the worst file at once leave the server answering, and its memory as it was."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from tests.comfyui.server import Server
from tests.hostile.hostile_files import safetensors
from tests.measuring import note

pytestmark = [pytest.mark.comfyui, pytest.mark.slow]

ROUTES = ("/paragonsr/recognised", "/paragonsr/card")
AT_ONCE = 10


def _many_names() -> bytes:
    names = {
        f"{index:05}": {"dtype": "I8", "shape": [1], "data_offsets": [index, index + 1]} for index in range(30_000)
    }
    return safetensors(names, bytes(30_000))


def _many_lists() -> bytes:
    return safetensors(b'{"a":[' + b"[],[],[],[],[],[],[],[]," * 330_000 + b"0]}")


def _foreign(path: Path) -> None:
    """A model of somebody else of 600 MB."""
    save_file({f"block.{index}.weight": torch.zeros(2**20, 4) for index in range(36)}, path)


FILES: dict[str, Callable[[Path], object]] = {
    "names.safetensors": lambda path: path.write_bytes(_many_names()),
    "lists.safetensors": lambda path: path.write_bytes(_many_lists()),
    "foreign.safetensors": _foreign,
}


def _resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def _ask(server: Server, route: str, name: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    request = urllib.request.Request(f"{server.url}{route}?{urlencode({'model': name})}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
@pytest.mark.parametrize("name", FILES)
def test_ten_questions_at_once(server: Server, name: str) -> None:
    FILES[name](server.base / "models/upscale_models" / name)
    server.get("/object_info/ParagonSRLoadModel")  # the list of models is read anew
    urllib.request.urlopen(server.url + "/", timeout=60).close()
    before, answers = _resident(server.process), list[int]()

    def ask(index: int) -> None:
        answers.append(_ask(server, ROUTES[index % 2], name)[0])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    slowest, most = 0.0, 0
    while any(thread.is_alive() for thread in threads):
        begun = time.perf_counter()
        urllib.request.urlopen(server.url + "/", timeout=60).close()
        slowest = max(slowest, time.perf_counter() - begun)
        most = max(most, _resident(server.process) - before)
        time.sleep(0.01)
    assert answers == [200] * AT_ONCE
    note(f"ComfyUI, ten questions about {name} at once", AT_ONCE, f"`GET /` within {1000 * slowest:.0f} ms",
         peak=most)  # fmt: skip
    assert most < 300 * 2**20
    assert slowest < 1  # 0.1 on a quiet machine


@pytest.mark.parametrize("route", ROUTES)
def test_other_sites_may_not_ask(server: Server, route: str) -> None:
    assert _ask(server, route, "broken.safetensors", {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert _ask(server, route, "broken.safetensors", {"Sec-Fetch-Site": "same-origin"})[0] == 200


def test_the_badge_says_what_is_wrong(server: Server) -> None:
    status, text = _ask(server, ROUTES[0], "broken.safetensors")
    assert status == 200
    assert "broken.safetensors" in json.loads(text)["details"]
