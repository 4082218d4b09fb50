"""The front end in a real browser: the pinned and the newest one, dark and light."""

from __future__ import annotations

import importlib.util
import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.comfyui.server import Server
from tests.comfyui.subjects import RANDOM, SHIPPED
from tests.comfyui.workflows import EXAMPLES

if importlib.util.find_spec("playwright") is None:
    pytest.skip("playwright is not installed: pip install 'comfyui-paragonsr[dev]'", allow_module_level=True)

from playwright.sync_api import Error as PlaywrightError

from tests.comfyui.browser import APP, Interface, interface, program

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason="no Chromium found; BROWSER_PATH names one"),
]

LOOKS: dict[str, dict[str, Any]] = {
    "pinned-dark": {"Comfy.VueNodes.Enabled": False, "Comfy.ColorPalette": "dark"},
    "pinned-light": {"Comfy.VueNodes.Enabled": False, "Comfy.ColorPalette": "light"},
    "newest-dark": {"Comfy.VueNodes.Enabled": True, "Comfy.ColorPalette": "dark"},
    "newest-light": {"Comfy.VueNodes.Enabled": True, "Comfy.ColorPalette": "light"},
}
SLIDER = ".paragonsr-compare"


def comparison() -> dict[str, Any]:
    """The example workflow with our picture and models."""
    workflow = json.loads((EXAMPLES / "4 Compare two models.json").read_text(encoding="utf-8"))
    models = iter((RANDOM, SHIPPED))
    for node in workflow["nodes"]:
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = "in.png"
        elif node["type"] == "ParagonSRLoadModel":
            node["widgets_values"][0] = next(models)
    return workflow


def drag_to(seen: Interface, share: float) -> NDArray[np.int64]:
    """Drag the slider from its middle to a share of its width, and return what the stage shows."""
    track = seen.page.locator(f"{SLIDER} input").bounding_box()
    assert track is not None
    middle = track["y"] + track["height"] / 2
    seen.page.mouse.move(track["x"] + track["width"] / 2, middle)
    seen.page.mouse.down()
    seen.page.mouse.move(track["x"] + track["width"] * share, middle, steps=5)
    seen.page.mouse.up()
    assert abs(int(seen.page.locator(f"{SLIDER} input").input_value()) / 1000 - share) < 0.06
    line = seen.page.locator(f"{SLIDER} .line").bounding_box()
    assert line is not None
    assert abs(line["x"] - track["x"] - track["width"] * share) < 0.06 * track["width"]
    shown = seen.page.locator(f"{SLIDER} .stage").screenshot()
    return np.asarray(Image.open(io.BytesIO(shown)).convert("RGB")).astype(np.int64)


def beside_the_picture(seen: Interface) -> list[str]:
    """Labels of the slider that do not lie inside the picture."""
    track, found = seen.page.locator(f"{SLIDER} input").bounding_box(), list[str]()
    assert track is not None
    for label in seen.page.locator(f"{SLIDER} .name").all():
        box = label.bounding_box()
        assert box is not None
        if box["x"] < track["x"] or box["x"] + box["width"] > track["x"] + track["width"]:
            found.append(label.inner_text())
    return found


def has_pictures(seen: Interface) -> bool:
    """Whether the slider shows something."""
    shown = f"() => document.querySelector('{SLIDER} .before')?.naturalWidth > 0"
    try:
        seen.page.wait_for_function(shown, timeout=60_000)
    except PlaywrightError:
        return False
    return bool(seen.page.locator(f"{SLIDER} .empty").is_hidden())


def fields(seen: Interface, kind: str) -> list[str]:
    """Names of the fields that a node shows."""
    return seen.page.evaluate(
        f"kind => {APP}.graph.nodes.find(n => n.type === kind).widgets.filter(w => !w.hidden).map(w => w.name)", kind
    )


def choose(seen: Interface, kind: str, name: str, value: str) -> None:
    """Set a field as the user does."""
    seen.page.evaluate(
        f"""([kind, name, value]) => {{
            const node = {APP}.graph.nodes.find(n => n.type === kind);
            const widget = node.widgets.find(w => w.name === name);
            widget.value = value;
            widget.callback(value, {APP}.canvas, node);
        }}""",
        [kind, name, value],
    )


def command(seen: Interface, name: str) -> None:
    """Run one of ComfyUI's own commands."""
    seen.page.evaluate(f"name => {APP}.extensionManager.command.execute(name)", name)
    seen.page.wait_for_timeout(3000)


def cut_off(seen: Interface, part: str) -> list[str]:
    """Texts of elements that are wider than their place."""
    return seen.page.locator(part).evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent)"
    )


def check_fields(seen: Interface) -> None:
    """Those that do not apply are not in view, and the values of older workflows stay where they belong."""
    kind = "ParagonSRUpscaleImage"
    assert {"width", "longest_side", "mask_is"}.isdisjoint(fields(seen, kind))
    choose(seen, kind, "resize", "pixels")
    assert {"width", "height"} <= set(fields(seen, kind))
    choose(seen, kind, "resize", "longest side")
    assert "longest_side" in fields(seen, kind)
    older = ["factor", 1.5, 0, 0, "auto", "fp32", "selection"]
    values = seen.page.evaluate(
        f"""([kind, older]) => {{
            const node = {APP}.graph.nodes.find(n => n.type === kind);
            node.configure({{...node.serialize(), widgets_values: older}});
            return Object.fromEntries(node.widgets.map(w => [w.name, w.value]));
        }}""",
        [kind, older],
    )
    assert values["factor"] == 1.5
    assert (values["tile"], values["precision"], values["mask_is"]) == ("auto", "fp32", "selection")
    shown = seen.page.evaluate("() => document.body.innerText")
    assert "paragonsr_" not in shown  # the names of our elements, in the panel of parameters


def check_bad_badge(seen: Interface) -> None:
    """What cannot be used looks so, and R asks again."""
    seen.show("ParagonSRLoadModel")
    choose(seen, "ParagonSRLoadModel", "model_name", "broken.safetensors")
    bad = seen.page.locator(".paragonsr-badge.bad")
    bad.wait_for()
    assert "cannot be used" in bad.inner_text()
    choose(seen, "ParagonSRLoadModel", "model_name", "gone.safetensors")
    command(seen, "Comfy.RefreshNodeDefinitions")
    bad.wait_for()
    assert "file not found" in bad.inner_text()


@pytest.mark.parametrize("look", LOOKS)
def test_graph_badge_and_slider(look: str, server: Server, newest_server: Server) -> None:
    host = newest_server if look.startswith("newest") else server
    with interface(host, LOOKS[look]) as seen:
        seen.load(comparison())
        assert seen.missing() == []
        seen.page.wait_for_function("() => document.querySelectorAll('.paragonsr-badge[title*=scale]').length === 2")
        assert seen.run() == "execution_success"
        seen.show("ParagonSRLoadModel")
        seen.picture(f"{look}-loader")
        badges = seen.page.locator(".paragonsr-badge").all_inner_texts()
        assert len(badges) == 2
        assert all("realtime" in badge and "2x" in badge for badge in badges), badges
        assert cut_off(seen, ".paragonsr-badge") == []
        seen.show("ParagonSRCompareImages", scale=1.4)
        assert "PSNR" in seen.page.locator(f"{SLIDER} .scores").inner_text()
        assert cut_off(seen, f"{SLIDER} .scores") == []
        after, before = drag_to(seen, 0.06), drag_to(seen, 0.94)
        seen.picture(f"{look}-slider")
        assert np.abs(after - before).mean() > 3  # the two models do not give the same picture
        assert beside_the_picture(seen) == []
        command(seen, "Comfy.NewBlankWorkflow")
        command(seen, "Workspace.PreviousOpenedWorkflow")
        assert has_pictures(seen), "lost over a change of tabs"
        choose(seen, "ParagonSRUpscaleImage", "tile", "256")
        command(seen, "Comfy.Undo")
        assert has_pictures(seen), "lost over undo"
        check_fields(seen)
        check_bad_badge(seen)
        ours = [error for error in seen.errors if "/extensions/ComfyUI-ParagonSR" in error]
        assert ours == []
