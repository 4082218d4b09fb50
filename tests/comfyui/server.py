"""A real ComfyUI server for tests: start it, ask it, stop it. Standard library only."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

START_SECONDS = 300
PROMPT_SECONDS = 180


class Server:
    """ComfyUI on a free local port, with a base folder of its own.

    Args:
        source: ComfyUI's folder, the one with main.py.
        python: interpreter that has ComfyUI's requirements.
        base: holds custom_nodes, models, input and output of this run.
        front_end: folder of another front end than the installed one.

    Raises:
        RuntimeError: it ended or stayed silent while starting; the message ends with its log.
    """

    def __init__(self, source: Path, python: Path, base: Path, front_end: Path | None = None) -> None:
        self.base = base
        self.log = base / "server.log"
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        options = ["--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base)]
        options += ["--database-url", "sqlite:///:memory:", "--disable-auto-launch", "--disable-api-nodes"]
        options += ["--front-end-root", str(front_end)] if front_end else []
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), "main.py", *options],
                cwd=source,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise

    @property
    def process(self) -> int:
        """The server's process id."""
        return self._process.pid

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self.get("/system_stats")
            except OSError:
                time.sleep(0.5)
            else:
                return
        raise RuntimeError(f"ComfyUI did not start:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of the server's log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-60:])

    def get(self, path: str) -> Any:
        """The JSON that the server answers to a GET of `path`."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that the server answers to a POST of JSON; None if it answers nothing."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def submit(self, workflow: dict[str, Any]) -> str:
        """Queue a workflow in API form and return its number.

        Raises:
            RuntimeError: it was refused.
        """
        try:
            return self.post("/prompt", {"prompt": workflow})["prompt_id"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"refused: {error.read().decode()}") from error

    def wait(self, number: str) -> dict[str, Any]:
        """The history entry of a workflow, once it is over, whatever its end.

        Raises:
            RuntimeError: it took too long.
        """
        deadline = time.monotonic() + PROMPT_SECONDS
        while time.monotonic() < deadline:
            entry = self.get(f"/history/{number}").get(number)
            if entry is not None:
                return entry
            time.sleep(0.1)
        raise RuntimeError(f"no result after {PROMPT_SECONDS} s:\n{self.tail()}")

    def run(self, workflow: dict[str, Any]) -> dict[str, Any]:
        """Run a workflow in API form and return its outputs by node number.

        Raises:
            RuntimeError: it was refused, failed, or took too long.
        """
        entry = self.wait(self.submit(workflow))
        if entry["status"]["status_str"] != "success":
            raise RuntimeError(f"failed: {_summary(entry['status']['messages'][-1][1])}")
        return entry["outputs"]

    def stop(self) -> None:
        """End the server and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _summary(error: dict[str, str]) -> str:
    trace = "".join(error.get("traceback", ""))
    return f"{error.get('node_type')}: {error.get('exception_type')}: {error.get('exception_message')}\n{trace}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def interpreter() -> Path:
    """COMFYUI_PYTHON, or the interpreter that runs the tests."""
    return Path(os.environ.get("COMFYUI_PYTHON", sys.executable))
