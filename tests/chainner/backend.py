"""A real chaiNNer back end without its window: its worker, to which chains are sent as the app does."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

HOST = "127.0.0.1"
START_SECONDS = 900
"""With chaiNNer's pins the first start compiles a dependency (pymatting), for minutes."""
RUN_SECONDS = 1800
"""Converting attention with PyTorch 2.15's exporter takes minutes."""


@dataclass(frozen=True)
class Output:
    """One output of a node of a chain."""

    node: Node
    position: int


@dataclass
class Node:
    """A node of a chain."""

    id: str
    schema: dict[str, Any]
    values: dict[str, Any]

    def __getitem__(self, label: str) -> Output:
        labels = [output["label"] for output in self.schema["outputs"]]
        return Output(self, labels.index(label))

    def to_json(self) -> dict[str, Any]:
        """As the app sends it: inputs by position, what was not given at its default."""
        labels = [item["label"] for item in self.schema["inputs"]]
        assert set(self.values) <= set(labels), f"{self.schema['name']} has {labels}"
        values = [self.values.get(item["label"], item.get("def")) for item in self.schema["inputs"]]
        kind = {"schemaId": self.schema["schemaId"], "nodeType": self.schema["kind"]}
        return {"id": self.id, "inputs": [_value(value) for value in values], **kind}


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, Output):
        return {"type": "edge", "id": value.node.id, "index": value.position}
    return {"type": "value", "value": int(value) if isinstance(value, bool) else value}


class Chain:
    """Nodes and their connections; `schemata` is from `Backend`."""

    def __init__(self, schemata: dict[str, dict[str, Any]]) -> None:
        self.schemata = schemata
        self.nodes: list[Node] = []

    def add(self, schema: str, **values: Any) -> Node:
        """Add a node; values by the labels of its inputs, with _ for a space."""
        named = {label.replace("_", " "): str(v) if isinstance(v, Path) else v for label, v in values.items()}
        self.nodes.append(Node(f"node{len(self.nodes)}", self.schemata[f"chainner:{schema}"], named))
        return self.nodes[-1]


@dataclass
class Result:
    """What came of a run."""

    answer: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    seconds_to_stop: float = 0.0
    """From pressing stop to the end of the run."""

    @property
    def error(self) -> str:
        """Message of the exception that ended the run; "" if it went well."""
        failed = [str(data.get("exception")) for name, data in self.events if name == "execution-error"]
        ended = "" if self.answer.get("type") in ("success", "already-running") else str(self.answer)
        return failed[0] if failed else ended

    def type_of(self, node: Node, output: int = 0) -> Any:
        """The last type that an output was broadcast with, as plain values."""
        seen = [data["types"] for name, data in self.events if name == "node-broadcast" and data["nodeId"] == node.id]
        return _plain(seen[-1][str(output)])

    def progress(self, node: Node) -> list[float]:
        """Where the node's bar was."""
        return [data["progress"] for name, data in self.events if name == "node-progress" and data["nodeId"] == node.id]


def _plain(expression: Any) -> Any:
    if not isinstance(expression, dict):
        return expression
    named = cast("dict[str, Any]", expression)
    if "value" in named:
        return named["value"]
    fields: dict[str, Any] = named.get("fields") or {}
    return {name: _plain(value) for name, value in fields.items()} or named.get("name")


class Backend:
    """chaiNNer's worker on a free local port.

    Args:
        source: a checkout of chaiNNer.
        python: interpreter with chaiNNer's dependencies and our package.
        folder: for its logs and storage.

    Raises:
        RuntimeError: it does not start; the message ends with its log.
    """

    def __init__(self, source: Path, python: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "backend.log"
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        app = source / "backend" / "src"
        command = [str(python), str(app / "server.py"), str(self.port)]
        command += ["--storage-dir", str(folder), "--logs-dir", str(folder)]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        variables |= {"PYTHONNOUSERSITE": "1", "PIP_NO_INDEX": "1", "CHECK_LEVEL": "error", "OMP_NUM_THREADS": "1"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=app,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.nodes: dict[str, Any] = self._first_answer()
        except BaseException:
            self.stop()
            raise
        self.schemata: dict[str, dict[str, Any]] = {node["schemaId"]: node for node in self.nodes["nodes"]}

    def _first_answer(self) -> dict[str, Any]:
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                answer: dict[str, Any] = self.ask("GET", "/nodes", timeout=START_SECONDS)
            except OSError:
                answer = {}
            if answer.get("nodes"):  # a worker that was asked too early has none yet
                return answer
            time.sleep(0.5)
        raise RuntimeError(f"chaiNNer's back end did not start:\n{self.text()[-6000:]}")

    def text(self) -> str:
        """The log."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float = RUN_SECONDS) -> Any:
        """The JSON that the worker answers."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def chain(self) -> Chain:
        """A new, empty chain."""
        return Chain(self.schemata)

    def run(self, chain: Chain, *, stop_at: Node | None = None, **settings: Any) -> Result:
        """Run a chain.

        Args:
            chain: whose nodes have side effects, or are used by ones that do; the app leaves others out.
            stop_at: press stop once the bar of this node has moved.
            settings: of the PyTorch package.
        """
        result = Result({})
        listener = _Listener(self.port, result.events)
        stopped: list[float] = []
        if stop_at is not None:
            threading.Thread(target=self._stop_at, args=(stop_at, result, stopped), daemon=True).start()
        try:
            body = {
                "data": [node.to_json() for node in chain.nodes],
                "options": {"chaiNNer_pytorch": {"use_cpu": True, **settings}},
                "sendBroadcastData": True,
                "useExperimentalFeatures": False,
            }
            result.answer = self.ask("POST", "/run", body)
            if stopped:
                result.seconds_to_stop = time.monotonic() - stopped[0]
        finally:
            listener.stop()
        return result

    def _stop_at(self, node: Node, result: Result, stopped: list[float]) -> None:
        while not result.answer:
            if any(result.progress(node)):
                stopped.append(time.monotonic())
                self.ask("POST", "/kill")
                return
            time.sleep(0.05)

    def stop(self) -> None:
        """End the worker and what it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)


class _Listener(threading.Thread):
    """Collects the worker's events; it has one queue, so there must be one listener at a time."""

    def __init__(self, port: int, events: list[tuple[str, dict[str, Any]]]) -> None:
        super().__init__(daemon=True)
        self._events = events
        self._ended = False
        self._socket = socket.create_connection((HOST, port), timeout=30)
        self._socket.sendall(f"GET /sse HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n\r\n".encode())
        self._socket.settimeout(0.3)
        self.start()

    def run(self) -> None:
        data, silent = b"", False
        while not (self._ended and silent):
            try:
                received = self._socket.recv(1 << 16)
            except TimeoutError:
                silent = True
                continue
            silent = False
            if not received:
                break
            data = self._take(data + received)

    def _take(self, data: bytes) -> bytes:
        """Take whole events out, and return the rest."""
        while (start := data.find(b"event: ")) >= 0 and (end := data.find(b"\n\n", start)) >= 0:
            name, _, content = data[start + 7 : end].partition(b"\ndata: ")
            self._events.append((name.decode(), json.loads(content)))
            data = data[end + 2 :]
        return data

    def stop(self) -> None:
        """Wait until nothing more comes."""
        self._ended = True
        self.join(10)
        self._socket.close()
