"""A real browser on a running ComfyUI: open the page with given settings, load a workflow, run it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.comfyui.server import Server

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Without the last three a browser keeps asking for hosts on the internet. The sandbox does not start for root.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
QUIET = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "99.0.0",
    "Comfy.Release.Version": "99.0.0",
    "Comfy.Release.Status": "what's new seen",
    "Comfy.Minimap.Visible": False,
    "Comfy.RightSidePanel.IsOpen": False,
}
"""What a first visit would put over the graph."""
APP = "(window.app ?? window.comfyAPI.app.app)"
START_MS = 400_000
RUN_MS = 400_000


def program() -> str | None:
    """BROWSER_PATH, or a Chromium that is installed; None if there is none."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, PROGRAMS)), None)


class Interface:
    """ComfyUI's page.

    Args:
        page: of a browser.
        server: that it shows.
        settings: ComfyUI's own names and values, set before the page opens.
    """

    def __init__(self, page: Page, server: Server, settings: dict[str, Any]) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"{error.message}\n{error.stack}"))
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        server.post("/settings", QUIET | settings)
        page.goto(server.url, wait_until="domcontentloaded", timeout=START_MS)
        ready = (
            f"window.LiteGraph?.registered_node_types.ParagonSRCompareImages && {APP}?.canvas && {APP}.extensionManager"
        )
        page.wait_for_function(
            f"() => {{ try {{ return Boolean({ready}) }} catch {{ return false }} }}", timeout=START_MS
        )
        page.wait_for_timeout(500)

    def load(self, workflow: dict[str, Any]) -> None:
        """Draw a workflow in the form in which the browser stores it, when the front end's own nodes are there."""
        self.page.wait_for_function("() => LiteGraph.registered_node_types.MarkdownNote")
        self.page.evaluate(f"workflow => {APP}.loadGraphData(workflow, true, true)", workflow)
        self.page.wait_for_function(f"() => {APP}.graph.nodes.length === {len(workflow['nodes'])}")
        self.page.keyboard.press("Escape")

    def missing(self) -> list[str]:
        """Types in the graph that no node is registered for."""
        return self.page.evaluate(
            f"() => {APP}.graph.nodes.map(n => n.type).filter(type => !LiteGraph.registered_node_types[type])"
        )

    def show(self, kind: str, scale: float = 1.0) -> None:
        """Scroll to the first node of a type."""
        find = f"const node = {APP}.graph.nodes.find(n => n.type === {json.dumps(kind)})"
        move = f"{APP}.canvas.centerOnNode(node); {APP}.canvas.setDirty(true, true)"
        self.page.evaluate(f"() => {{ {find}; {APP}.canvas.ds.scale = {scale}; {move} }}")
        self.page.wait_for_timeout(700)

    def run(self) -> str:
        """Queue the graph as the button does and return how it ended: the name of the server's last message."""
        self.page.evaluate(
            f"""() => {{
                window.paragonsrEnd = null;
                for (const name of ["execution_success", "execution_error", "execution_interrupted"])
                    {APP}.api.addEventListener(name, () => {{ window.paragonsrEnd = name; }});
                {APP}.queuePrompt(0);
            }}"""
        )
        self.page.wait_for_function("() => window.paragonsrEnd", timeout=RUN_MS)
        return self.page.evaluate("() => window.paragonsrEnd")

    def picture(self, name: str) -> None:
        """A screenshot for a person, where PARAGONSR_SCREENSHOTS names a folder."""
        folder = os.environ.get("PARAGONSR_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}.png")


@contextmanager
def interface(server: Server, settings: dict[str, Any]) -> Generator[Interface]:
    """ComfyUI in a browser that is closed at the end; asks nothing of other machines."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=OPTIONS)
        try:
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.route(lambda url: not url.startswith(server.url), lambda route: route.abort())
            yield Interface(page, server, settings)
        finally:
            browser.close()
