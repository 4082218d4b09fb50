"""Upscale Image (ParagonSR), with real models and a stand-in for ComfyUI."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import paragon_arch
from nodes import host as nodes_host
from nodes import progress
from nodes.upscale_image import UpscaleImage
from paragon_arch.errors import InvalidOptionError, NonFiniteError
from paragon_arch.networks.v2_atd import ParagonSR2ATD
from paragon_engine import Upscaler, upscale_tensor
from tests.engine_models import damaged, descriptor
from tests.nodes.stand_in import Host, Interrupted, foreign_model

WIDGETS: dict[str, Any] = {
    "resize": "model scale",
    "factor": 2.0,
    "width": 0,
    "height": 0,
    "tile": "untiled",
    "precision": "auto",
}


def pictures(count: int = 1, height: int = 30, width: int = 40, channels: int = 3) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(count, height, width, channels)


def upscale(model: Any, image: Tensor, **inputs: Any) -> tuple[Tensor, Tensor]:
    return UpscaleImage().upscale(model, image, **(WIDGETS | inputs))


def engine(model: Any, image: Tensor, **options: Any) -> Tensor:
    return upscale_tensor(Upscaler(model), image.movedim(-1, 1), tile=0, **options).movedim(1, -1)


@pytest.mark.usefixtures("host")
def test_each_picture_of_a_batch_is_the_engines_result() -> None:
    model, image = descriptor(), pictures(3)
    before = image.clone()
    result, mask = upscale(model, image)
    torch.testing.assert_close(result, engine(model, image), rtol=0, atol=1e-6)
    assert mask.shape == (3, 60, 80)
    assert not mask.any()
    assert torch.equal(image, before)


@pytest.mark.usefixtures("host")
def test_tiles_of_a_chosen_size_give_the_same_picture() -> None:
    model, image = descriptor(), pictures(height=150, width=140)
    torch.testing.assert_close(upscale(model, image, tile="128")[0], engine(model, image), rtol=0, atol=1e-5)


def hooks(module: nn.Module) -> int:
    return len(cast("dict[int, object]", module._forward_pre_hooks))  # pyright: ignore[reportPrivateUsage]


@pytest.mark.usefixtures("host")
def test_the_shared_model_stays_as_it_is() -> None:
    model = descriptor()
    weights = {key: tensor.clone() for key, tensor in model.model.state_dict().items()}
    upscale(model, pictures(), precision="bf16" if model.supports_bfloat16 else "fp32")
    assert all(torch.equal(weights[key], tensor) for key, tensor in model.model.state_dict().items())
    assert not any(hooks(module) for module in model.model.modules())


@pytest.mark.usefixtures("host")
def test_models_of_other_families_work_too() -> None:
    model, image = foreign_model(), pictures()
    torch.testing.assert_close(upscale(model, image)[0], engine(model, image), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        ({"resize": "factor", "factor": 1.5}, (45, 60)),
        ({"resize": "factor", "factor": 3.0}, (90, 120)),
        ({"resize": "pixels", "width": 100, "height": 70}, (70, 100)),
        ({"resize": "pixels", "width": 100}, (75, 100)),
        ({"resize": "pixels", "height": 15}, (15, 20)),
        ({"resize": "model scale", "factor": 3.0, "width": 5}, (60, 80)),
        ({"resize": "longest side", "longest_side": 120}, (90, 120)),
        ({"resize": "model scale", "max_megapixels": 0.0012}, (30, 40)),
        ({"resize": "HD (1280 x 720)", "max_megapixels": 0.0108}, (90, 120)),
    ],
)
def test_output_sizes(inputs: dict[str, Any], size: tuple[int, int]) -> None:
    result, mask = upscale(descriptor(), pictures(), mask=torch.rand(1, 30, 40), **inputs)
    assert result.shape == (1, *size, 3)
    assert mask.shape == (1, *size)


@pytest.mark.usefixtures("host")
def test_an_output_that_is_too_large_is_refused_in_words_that_fit_the_node() -> None:
    with pytest.raises(InvalidOptionError, match=r"over the limit of .*: ask for a smaller size$"):
        upscale(descriptor(), pictures(height=3000, width=3000), resize="factor", factor=16.0)
    with pytest.raises(InvalidOptionError, match="'larger' is unknown: choose model scale, "):
        upscale(descriptor(), pictures(), resize="larger")


@pytest.mark.usefixtures("host")
def test_fp16_intermediates_are_what_comfyui_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    management: Any = sys.modules["comfy.model_management"]
    monkeypatch.setattr(management, "intermediate_dtype", lambda: torch.float16, raising=False)
    result, mask = upscale(descriptor(), pictures())
    assert (result.dtype, mask.dtype) == (torch.float16, torch.float16)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("how", ["mean and deviation", "wavelet"])
def test_colours_are_taken_back_to_the_inputs(how: str) -> None:
    class Tinted(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * 0.8 + torch.tensor([0.1, 0.0, 0.05])[:, None, None]

    model, image = foreign_model(), pictures(height=64, width=64) * 0.5 + 0.25
    model._model = Tinted(model.model)  # pyright: ignore[reportPrivateUsage]
    shift = (upscale(model, image)[0].mean((1, 2)) - image.mean((1, 2))).abs().max()
    left = (upscale(model, image, colour_match=how)[0].mean((1, 2)) - image.mean((1, 2))).abs().max()
    assert left < 0.1 * shift


@pytest.mark.usefixtures("host")
def test_pixels_without_a_number_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="width and height are both 0"):
        upscale(descriptor(), pictures(), resize="pixels")


def half_transparent() -> Tensor:
    """A mask whose right half is 1."""
    mask = torch.zeros(1, 30, 40)
    mask[..., 20:] = 1
    return mask


@pytest.mark.usefixtures("host")
def test_transparency_survives_and_hidden_colours_do_not_bleed_in() -> None:
    image, mask = torch.full((1, 30, 40, 3), 0.75), half_transparent()
    image[mask > 0] = 0  # what painting programs leave under transparent pixels
    model = descriptor()
    result, cover = upscale(model, image, mask=mask)
    assert cover[..., :36].max() == 0
    assert cover[..., 44:].min() == 1
    whole = upscale(model, torch.full((1, 30, 40, 3), 0.75))[0]
    torch.testing.assert_close(result[:, :, :40], whole[:, :, :40], rtol=0, atol=1e-5)


@pytest.mark.usefixtures("host")
def test_a_selection_leaves_the_picture_alone() -> None:
    model, image = descriptor(), pictures()
    result, cover = upscale(model, image, mask=half_transparent(), mask_is="selection")
    assert torch.equal(result, upscale(model, image)[0])
    assert cover[..., :20].mean() < 0.5 < cover[..., 60:].mean()


@pytest.mark.usefixtures("host")
def test_one_mask_serves_a_batch_and_the_empty_one_of_load_image_is_no_mask() -> None:
    model, image = descriptor(), pictures(2)
    _, cover = upscale(model, image, mask=half_transparent())
    assert torch.equal(cover[0], cover[1])
    result, cover = upscale(model, image, mask=torch.zeros(1, 64, 64))
    assert torch.equal(result, upscale(model, image)[0])
    assert not cover.any()


@pytest.mark.usefixtures("host")
def test_a_mask_of_another_size_is_resized_and_one_of_another_number_refused() -> None:
    model, image = descriptor(), pictures()
    large = torch.nn.functional.interpolate(half_transparent()[None], (60, 80), mode="nearest")[0]
    result, cover = upscale(model, image, mask=large)
    assert cover[..., :34].max() == 0
    assert cover[..., 46:].min() == 1
    torch.testing.assert_close(result[:, :, :30], upscale(model, image)[0][:, :, :30], rtol=0, atol=1e-5)
    with pytest.raises(InvalidOptionError, match="2 masks for 3"):
        upscale(model, pictures(3), mask=torch.ones(2, 30, 40))


@pytest.mark.usefixtures("host")
def test_a_picture_with_four_channels_keeps_them() -> None:
    image = torch.cat([pictures(), 1 - half_transparent()[..., None]], dim=-1)
    result, cover = upscale(descriptor(), image)
    assert result.shape == (1, 60, 80, 4)
    torch.testing.assert_close(result[..., 3], 1 - cover)
    gray = upscale(descriptor(), pictures(channels=1))[0]
    assert gray.shape == (1, 60, 80, 1)


def test_the_bar_moves_with_the_tiles_and_shows_finished_pictures(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 3600)
    upscale(descriptor(), pictures(2, height=100, width=100), tile="128")
    upscale(descriptor(), pictures(1, height=200, width=200), tile="128")
    values = [value for value, total, _ in host.shown if total == 1000]
    assert 500 in values
    assert values[-1] == 1000
    assert len(set(values)) > 4
    previews = [preview for _, _, preview in host.shown if preview is not None]
    assert [preview[1].size for preview in previews] == [(200, 200), (400, 400)]
    assert previews[0][2] == 200


def test_the_last_view_is_the_result_in_its_own_size(host: Host) -> None:
    result, _ = upscale(descriptor(), pictures(height=600, width=300))
    form, view, longest = host.shown[-1][2]
    assert (form, view.size, longest) == ("JPEG", (600, 1200), 1200)
    shown = np.asarray(view).astype(float) / 255
    assert np.abs(shown - result[0].numpy()).max() < 0.01


def test_the_view_of_a_picture_gets_bright_where_it_is_done(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0)
    image = torch.full((1, 600, 600, 3), 0.8)
    result, _ = upscale(descriptor(), image, tile="384")
    views = [preview[1] for _, _, preview in host.shown if preview is not None]
    assert len(views) == 5
    assert views[0].size == (512, 512)
    first, last = (np.asarray(views[index]).astype(float).mean(axis=-1) / 255 for index in (0, -2))
    assert abs(first[100, 100] - float(result[0, 200, 200].mean())) < 0.02
    assert abs(first[-1, -1] - 0.8 * progress.DIMMED) < 0.02
    assert abs(last[256, 256] - float(result[0, 600, 600].mean())) < 0.02


def test_cancelling_stops_inside_a_tile_and_frees_the_device(host: Host) -> None:
    host.checks_left = 5
    with pytest.raises(Interrupted):
        upscale(descriptor(), pictures())
    assert host.released == 1
    assert max(value for value, _, _ in host.shown) == 0


@pytest.mark.usefixtures("host")
def test_a_precision_that_the_model_does_not_hold_is_refused() -> None:
    model = descriptor()
    model.supports_half = False  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InvalidOptionError, match="does not hold fp16"):
        upscale(model, pictures(), precision="fp16")


class Overflows(nn.Module):
    """Gives NaN in BF16, and everywhere once `broken` is set."""

    def __init__(self, inner: nn.Module, *, broken: bool = False) -> None:
        super().__init__()
        self.inner, self.broken = inner, broken

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x)
        return result * float("nan") if self.broken or x.dtype == torch.bfloat16 else result


@pytest.mark.usefixtures("host")
def test_what_overflows_is_made_again_more_precisely(caplog: pytest.LogCaptureFixture) -> None:
    model, image = foreign_model(), pictures()
    expected = upscale(model, image)[0]
    model._model = Overflows(model.model)  # pyright: ignore[reportPrivateUsage]
    assert torch.equal(upscale(model, image, precision="bf16")[0], expected)
    assert "overflowed in bf16: redone in fp32" in caplog.text


@pytest.mark.usefixtures("host")
def test_a_model_that_gives_nan_anyway_is_an_error() -> None:
    model = foreign_model()
    model._model = Overflows(model.model, broken=True)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(NonFiniteError, match="picture 1 of 1: the model gives NaN or infinity even in fp32"):
        upscale(model, pictures())


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("tile", ["untiled", "128"])
def test_a_damaged_model_is_an_error_that_names_the_picture(tile: str) -> None:
    with pytest.raises(NonFiniteError, match="picture 1 of 2: the model gives NaN"):
        upscale(damaged(descriptor()), pictures(2, height=140, width=140), tile=tile)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_in_a_picture_is_black_and_the_rest_of_the_batch_is_done(
    value: float, caplog: pytest.LogCaptureFixture
) -> None:
    image, mask = pictures(3), torch.rand(3, 30, 40)
    clean, clean_mask = image.clone(), mask.clone()
    image[1, 3, 4], clean[1, 3, 4] = value, 0
    mask[2, 5, 6], clean_mask[2, 5, 6] = value, 0
    model = descriptor()
    found = upscale(model, image, mask=mask)
    expected = upscale(model, clean, mask=clean_mask)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert "picture 2 of 3: 3 values are NaN or infinite; they are replaced by 0" in caplog.text
    assert "mask 3 of 3: 1 values" in caplog.text


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("fp16", "bf16"), [(False, False), (True, False), (False, True), (True, True)])
def test_comfyui_says_which_half_precisions_are_used(fp16: bool, bf16: bool) -> None:
    """It knows the cards and --force-fp32, --force-fp16."""
    module = sys.modules["comfy.model_management"]
    management = cast("dict[str, Callable[[torch.device], bool]]", vars(module))
    management["should_use_fp16"] = lambda device: fp16
    management["should_use_bf16"] = lambda device: bf16
    assert nodes_host.half_precisions(torch.device("cuda")) == ("fp16",) * fp16 + ("bf16",) * bf16


@pytest.mark.usefixtures("host")
def test_a_layout_without_exact_tiles_is_not_approximated(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = ParagonSR2ATD(scale=2, num_feat=16, num_groups=1, num_blocks=2).eval()
    model, image = paragon_arch.load(network.state_dict()), pictures(height=140, width=24)
    result, _ = upscale(model, image, tile="128")
    torch.testing.assert_close(result, model(image.movedim(-1, 1)).movedim(1, -1), rtol=0, atol=1e-5)
    assert "exact tiles are not known for this model: running untiled" in caplog.text


def test_no_preview_is_computed_that_nobody_sees(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> None:
        raise AssertionError("a preview was computed")

    monkeypatch.setattr(progress.Preview, "_show", forbidden)
    monkeypatch.setattr(progress, "INTERVAL", 3600)
    result, _ = upscale(descriptor(), pictures(2, height=140, width=140), tile="128")
    previews = [preview for _, _, preview in host.shown if preview is not None]
    assert [preview[1].size for preview in previews] == [(280, 280)]  # of the last picture alone
    assert len(result) == 2
