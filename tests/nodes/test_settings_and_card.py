"""The settings page and the model's card, as the nodes see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from nodes import card, recognition, settings
from nodes.upscale_image import UpscaleImage
from paragon_engine.tiling import run
from tests.engine_models import checkpoint, descriptor
from tests.nodes.stand_in import Host
from tests.nodes.test_upscale_node import pictures, upscale


def store(host: Host, **values: Any) -> None:
    file = host.base / "user/default/comfy.settings.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({f"ParagonSR.{name}": value for name, value in values.items()}), encoding="utf-8")


def test_auto_means_what_the_settings_say(host: Host) -> None:
    assert settings.precision("auto") == "auto"
    before = UpscaleImage.IS_CHANGED(precision="auto", image=None)
    store(host, Precision="bf16")
    assert settings.precision("auto") == "bf16"
    assert settings.precision("fp32") == "fp32"
    assert UpscaleImage.IS_CHANGED(precision="auto", image=None) != before
    assert UpscaleImage.IS_CHANGED(precision="fp32", image=None) == "fp32"


@pytest.mark.parametrize("content", ["", "[]", '{"ParagonSR.Precision": 8, "ParagonSR.TileMemory": "much"}'])
def test_damaged_settings_are_the_defaults(host: Host, content: str) -> None:
    store(host)
    (host.base / "user/default/comfy.settings.json").write_text(content, encoding="utf-8")
    assert settings.precision("auto") == "auto"
    assert settings.tile_memory() is None


def test_the_memory_for_tiles_decides_their_size(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Any] = []

    def remembered(*values: Any, **options: Any) -> Any:
        plans.append(make_plan(*values, **options))
        return plans[-1]

    make_plan = run.make_plan
    monkeypatch.setattr(run, "make_plan", remembered)
    model, image = descriptor(), pictures(height=300, width=300)
    upscale(model, image, tile="auto")
    store(host, TileMemory=0.005)
    upscale(model, image, tile="auto")
    assert [plan.kind for plan in plans] == ["untiled", "exact"]
    assert plans[1].tile < 300


def test_the_page_has_the_card_and_what_the_file_says(host: Host) -> None:
    models = host.base / "models/upscale_models"
    checkpoint(models / "2x_test.safetensors")
    status, text = card.page({"model": "2x_test.safetensors"})
    assert status == 200
    assert "scale: 2" in text
    assert "no card" in text
    german = card.page({"model": "2x_test.safetensors", "language": "de"})[1]
    assert "keine Karte" in german
    assert '<html lang="de"' in german
    assert "no card" in card.page({"model": "2x_test.safetensors", "language": "../../secret"})[1]
    (models / "2x_test.md").write_text("# <script>Card</script>", encoding="utf-8")
    assert "# &lt;script&gt;Card&lt;/script&gt;" in card.page({"model": "2x_test.safetensors"})[1]


def test_only_models_that_the_loader_lists_have_a_page(host: Host, tmp_path: Path) -> None:
    (host.base / "models/upscale_models").mkdir(parents=True, exist_ok=True)
    (tmp_path / "secret.md").write_text("secret", encoding="utf-8")
    for query in ({}, {"model": "../../../secret.safetensors"}, {"model": "<b>"}):
        status, text = card.page(query)
        assert status == 404
        assert "secret<" not in text
        assert "<b>" not in text


def test_the_badge_knows_a_file_before_it_is_loaded(host: Host) -> None:
    models = host.base / "models/upscale_models"
    checkpoint(models / "2x_test.safetensors")
    (models / "broken.safetensors").write_bytes(b"nothing")

    def asked(**query: str) -> tuple[int, dict[str, str]]:
        status, text = recognition.answer(query)
        return status, json.loads(text)

    status, known = asked(model="2x_test.safetensors", scale="auto", alpha="auto")
    assert status == 200
    assert known == {"kind": "realtime", "scale": 2, "state": "ready", "origin": "", "details": ANY}
    assert "scale: 2" in known["details"]
    assert asked(model="2x_test.safetensors", scale="0", alpha="-1") == (200, known)  # what older workflows have
    assert asked(model="2x_test.safetensors", alpha="0.25")[1]["details"] != known["details"]
    assert asked(model="broken.safetensors") == (200, {"state": "unusable", "details": ANY})
    assert asked(model="2x_test.safetensors", scale="two") == (400, {"state": "invalid", "details": ANY})
    assert asked(model="../../secret.safetensors") == (404, {"state": "missing", "details": ANY})


def test_a_link_to_a_file_that_is_gone_is_missing(host: Host) -> None:
    (host.base / "models/upscale_models").mkdir(parents=True, exist_ok=True)
    (host.base / "models/upscale_models/gone.safetensors").symlink_to("/nowhere/gone.safetensors")
    status, text = recognition.answer({"model": "gone.safetensors"})
    assert (status, json.loads(text)["state"]) == (404, "missing")
    assert card.page({"model": "gone.safetensors"})[0] == 404
