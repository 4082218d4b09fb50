"""The order in which scale, alpha and window size are settled."""

from __future__ import annotations

from typing import Any

import pytest

from paragon_arch.errors import AmbiguousValueError, InvalidOptionError
from paragon_arch.layouts.base import Layout, Unknown
from paragon_arch.layouts.v1 import PIXELSHUFFLE
from paragon_arch.layouts.v2_magic import MAGIC
from paragon_arch.layouts.v2_release import RELEASE
from paragon_arch.probe import ScaleMeasurement
from paragon_arch.resolve import Evidence, Resolved, from_name, resolve

SURE = ScaleMeasurement(best=3, margin_db=4.0, ambiguous=False, likeliest=(3,), consistency_db={3: 30.0, 2: 26.0})
UNSURE = ScaleMeasurement(best=2, margin_db=0.1, ambiguous=True, likeliest=(3, 2), consistency_db={2: 24.1, 3: 24.0})


def settle(
    layout: Layout = MAGIC,
    *,
    proven: dict[str, Any] | None = None,
    name: str = "",
    hints: dict[str, Any] | None = None,
    measured: ScaleMeasurement = SURE,
    guess: bool = False,
    **overrides: Any,
) -> dict[str, Resolved]:
    evidence = Evidence(overrides, hints or {}, name, "model.pth")
    return resolve(layout, proven or {}, evidence, lambda: measured, guess=guess)


def test_order_of_sources_for_the_scale() -> None:
    everything: dict[str, Any] = {"name": "4x_model", "hints": {"scale": 8}}
    assert (settle(**everything, scale=2)["scale"].value, settle(**everything, scale=2)["scale"].source) == (
        2,
        "override",
    )
    assert settle(**everything)["scale"] == Resolved(8, "hint")
    assert settle(name="4x_model")["scale"] == Resolved(4, "name")
    assert settle()["scale"] == Resolved(3, "measured")


def test_shapes_beat_hints_and_names_and_refuse_contradiction() -> None:
    found = settle(PIXELSHUFFLE, proven={"scale": 2}, name="4x_model", hints={"scale": 3})
    assert (found["scale"].value, found["scale"].source) == (2, "shapes")
    assert "hint 3" in found["scale"].note
    with pytest.raises(InvalidOptionError, match="scale=4 contradicts"):
        settle(PIXELSHUFFLE, proven={"scale": 2}, scale=4)
    assert settle(PIXELSHUFFLE, proven={"scale": 2}, scale=2)["scale"].source == "shapes"


def test_ambiguous_measurement_asks_or_guesses() -> None:
    with pytest.raises(AmbiguousValueError, match=r"--scale") as caught:
        settle(measured=UNSURE)
    assert (caught.value.option, caught.value.candidates) == ("scale", (3, 2))
    guessed = settle(measured=UNSURE, guess=True)["scale"]
    assert (guessed.value, guessed.candidates) == (3, (3, 2))
    assert "guess" in guessed.note


def test_measuring_is_the_last_resort() -> None:
    def never() -> ScaleMeasurement:
        raise AssertionError("measured although the name says it")

    resolve(MAGIC, {}, Evidence({}, {}, "2xNano", "m"), never, guess=False)


def test_alpha_defaults_by_variant_and_published_fidelity_weights_are_zero() -> None:
    realtime = {
        "variant": "realtime",
        "num_feat": 16,
        "num_groups": 1,
        "num_blocks": 3,
        "scale": 2,
        "layer_scale": True,
    }
    assert settle(RELEASE, proven=realtime)["alpha"] == Resolved(0.3, "default")
    assert settle(RELEASE, proven=realtime, name="2x_realtime_fidelity")["alpha"] == Resolved(0.0, "name")
    assert settle()["alpha"] == Resolved(1.0, "default")
    assert settle(name="2x_fidelity")["alpha"].source == "default"


@pytest.mark.parametrize(
    ("option", "value"),
    [("scale", 0), ("scale", 2.5), ("scale", True), ("scale", 99), ("alpha", -0.1), ("alpha", 1.5), ("alpha", "1")],
)
def test_values_out_of_range_are_refused(option: str, value: object) -> None:
    with pytest.raises(InvalidOptionError, match=option):
        settle(**{option: value})  # pyright: ignore[reportArgumentType]


def test_a_bad_hint_is_ignored_with_a_note() -> None:
    found = settle(hints={"scale": -1}, name="2x_a")["scale"]
    assert (found.value, found.source) == (2, "name")
    assert "ignored" in found.note


def test_an_option_that_the_layout_lacks_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="no window_size"):
        settle(window_size=16)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("2xParagonSR2_Nano_Pretrain", 2),
        ("ParagonSR2_Realtime_x3", 3),
        ("4x-model", 4),
        ("my_8x_model_v2", 8),
        ("x2_model", 2),
        ("nano2x", 2),
        ("4xNomos8kSC", 4),
        ("model", None),
        ("2x_to_4x", None),
        ("1920x1080", None),
        ("maxx5model", None),
        ("5x_model", None),
        ("0x2f", None),
    ],
)
def test_scale_in_file_names(name: str, scale: int | None) -> None:
    assert from_name(Unknown("scale", 4), name) == scale
