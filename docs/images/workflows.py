"""Makes the pictures of the example workflows: each is opened and run in a real ComfyUI, in a real browser.

    python docs/images/workflows.py PHOTO [NAME ...]

COMFYUI_PATH and COMFYUI_PYTHON name a ComfyUI (`tests/comfyui/install.py` makes one), BROWSER_PATH a Chromium that is
not found by itself. The photograph in the repository is astronaut.png of scikit-image (NASA, public domain).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.comfyui.browser import APP, Interface, interface  # noqa: E402 - after the path
from tests.comfyui.server import Server, interpreter  # noqa: E402
from tests.comfyui.subjects import PACK, save_video  # noqa: E402

EXAMPLES = ROOT / "example_workflows"
MARGIN, PHOTO_SIDE, VIDEO = 40, 288, "example.mp4"
SETTINGS = {"Comfy.VueNodes.Enabled": False, "Comfy.ColorPalette": "dark", "Comfy.Graph.CanvasInfo": False}
GRAPH_ALONE = "body * { visibility: hidden } #graph-canvas, .dom-widget, .dom-widget * { visibility: visible }"
BOUNDS = f"""() => {APP}.graph.nodes.reduce((all, node) => {{
    const [x, y, w, h] = node.boundingRect;
    return [Math.min(all[0], x), Math.min(all[1], y), Math.max(all[2], x + w), Math.max(all[3], y + h)];
}}, [Infinity, Infinity, -Infinity, -Infinity])"""


def fit(seen: Interface) -> FloatRect:
    """Move the graph into the page, as large as possible, and return where it is."""
    left, top, right, bottom = seen.page.evaluate(BOUNDS)
    size = seen.page.viewport_size
    assert size is not None
    scale = min((size["width"] - 2 * MARGIN) / (right - left), (size["height"] - 2 * MARGIN) / (bottom - top), 1)
    seen.page.evaluate(
        f"([scale, x, y]) => {{ const ds = {APP}.canvas.ds; ds.scale = scale; ds.offset = [x, y];"
        f" {APP}.canvas.setDirty(true, true); }}",
        [scale, MARGIN / scale - left, MARGIN / scale - top],
    )
    seen.page.wait_for_timeout(1500)
    return FloatRect(x=0, y=0, width=(right - left) * scale + 2 * MARGIN, height=(bottom - top) * scale + 2 * MARGIN)


def picture(seen: Interface, name: str, target: Path) -> None:
    """Open, run and photograph one example."""
    workflow = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    for node in workflow["nodes"]:
        if node["type"] == "LoadVideo":  # the user's choice; the example comes without one
            node["widgets_values"][0] = VIDEO
    seen.load(workflow)
    fit(seen)
    end = seen.run()
    if end != "execution_success":
        raise SystemExit(f"{name}: {end}")
    seen.page.wait_for_timeout(2500)
    place = fit(seen)
    seen.page.screenshot(path=target.with_suffix(".png"), clip=place)
    Image.open(target.with_suffix(".png")).convert("RGB").save(target, quality=88)


def main() -> None:
    """Write the pictures."""
    names = sys.argv[2:] or sorted(file.stem for file in EXAMPLES.glob("*.json"))
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        for folder in ("models/upscale_models", "input", "output", "user", "temp"):
            (base / folder).mkdir(parents=True)
        (base / "custom_nodes").mkdir()
        (base / "custom_nodes" / PACK).symlink_to(ROOT)
        photo = Image.open(sys.argv[1]).convert("RGB").resize((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
        photo.save(base / "input/example.png")
        save_video(base / "input" / VIDEO)
        server = Server(Path(os.environ["COMFYUI_PATH"]), interpreter(), base)
        try:
            with interface(server, SETTINGS) as seen:
                seen.page.add_style_tag(content=GRAPH_ALONE)
                for name in names:
                    picture(seen, name, base / f"{name}.jpg")
                    (base / f"{name}.jpg").replace(EXAMPLES / f"{name}.jpg")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
