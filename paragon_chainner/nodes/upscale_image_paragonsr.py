"""Upscale Image (ParagonSR)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from paragon_arch.errors import InvalidOptionError
from paragon_engine.tiling import TileSize as Tile
from paragon_engine.upscale import UpscaleSettings, upscale_picture

from ..borders import Border, border_width, with_border, without_border
from ..host import Image, Model, NodeContext, PaddingType, TileSize, api, groups, inputs, outputs, settings, tile_sizes
from ..models import memory_limit, runnable
from ..pictures import blended, from_picture, to_picture
from ..progress import NodeProgress
from .group import ICON, group

IMAGE, MODEL, TILE, SEPARATE, CUSTOM_SCALE, SCALE, CUSTOM_TILE, PADDING, STRENGTH = 1, 0, 2, 3, 4, 5, 6, 7, 8
"""Ids of inputs; up to 7 those that chaiNNer's own node gives to the same things."""
BORDERS: dict[str, Border] = {"REFLECT_MIRROR": "reflect", "WRAP": "wrap", "REPLICATE": "edge"}
UPSCALES = groups.Condition.type(MODEL, "PyTorchModel { scale: int(2..) }", if_not_connected=True)
RESTORES = groups.Condition.type(MODEL, "PyTorchModel { scale: 1 }")
RESULT_SCALE = "if Input4 and Input0.scale >= 2 { Input5 } else { Input0.scale }"


@group.register(
    schema_id="chainner:paragonsr:upscale_image",
    name="Upscale Image (ParagonSR)",
    description=[
        "Upscale an image in tiles that give exactly what the whole image would give, at any tile size.",
        "The standard Upscale Image node gives every tile 8 pixels of its surroundings; many models look further.",
        "Transparency is upscaled by the same model; what is opaque stays opaque, without dark fringes.",
    ],
    icon=ICON,
    inputs=[
        inputs.ImageInput().with_id(IMAGE),
        inputs.SrModelInput().with_id(MODEL),
        groups.if_group(UPSCALES)(
            inputs.BoolInput("Custom Scale", default=False)
            .with_id(CUSTOM_SCALE)
            .with_docs(
                "Upscale to another factor than the model's: it is applied as often as needed, and the result brought"
                " down to the size.",
                hint=True,
            ),
            groups.if_group(groups.Condition.bool(CUSTOM_SCALE, True))(
                inputs.NumberInput("Scale", default=4, min=1, max=32, label_style="hidden").with_id(SCALE)
            ),
        ),
        groups.if_group(RESTORES)(
            inputs.SliderInput("Strength", default=100, min=0, max=100, unit="%")
            .with_id(STRENGTH)
            .with_docs("How much of the restored image is taken; the rest is the image as it was.", hint=True)
        ),
        inputs.TileSizeDropdown()
        .with_id(TILE)
        .with_docs(
            "Tiles change time and memory, not the picture. Auto computes what the model needs for this image and takes"
            " the whole image if that fits into the free memory, or into the limit in the settings.",
            hint=True,
        ),
        groups.if_enum_group(TILE, tile_sizes.CUSTOM)(
            inputs.NumberInput("Custom Tile Size", min=32, max=None, default=256, unit="px").with_id(CUSTOM_TILE)
        ),
        inputs.PaddingTypeInput()
        .with_id(PADDING)
        .with_docs(
            "What the model sees beyond the edges of the image. Wrap (Tile) is for textures that repeat: they still"
            " join when they are upscaled. The others avoid dark or blurred edges.",
            hint=True,
        ),
        groups.if_group(groups.Condition.type(IMAGE, "Image { channels: 4 }"))(
            inputs.BoolInput("Separate Alpha", default=False)
            .with_id(SEPARATE)
            .with_docs(
                "For alpha that is no transparency, as in textures that keep other data there: colours and alpha are"
                " then upscaled as two images that have nothing to do with each other.",
                hint=True,
            )
        ),
    ],
    outputs=[
        outputs.ImageOutput(
            "Image",
            image_type=f"""
                let scale = {RESULT_SCALE};
                Image {{
                    width: Input1.width * scale,
                    height: Input1.height * scale,
                    channels: convenientUpscale(Input0, Input1).channels,
                }}
            """,
            assume_normalized=True,
        ).with_id(0)
    ],
    key_info=api.KeyInfo.type(f'let scale = {RESULT_SCALE}; string::concat(toString(scale), "x")'),
    node_context=True,
    see_also=["chainner:pytorch:upscale_image"],
)
def upscale_image_paragonsr_node(
    context: NodeContext,
    img: Image,
    model: Model,
    use_custom_scale: bool,
    custom_scale: int,
    strength: int,
    tile_size: TileSize,
    custom_tile_size: int,
    padding: PaddingType,
    separate_alpha: bool,
) -> Image:
    """Return the upscaled image; neither `img` nor `model` is changed."""
    scale = custom_scale if use_custom_scale and model.scale > 1 else model.scale
    if padding == cast("Any", PaddingType).NONE:
        result = _upscaled(context, img, model, scale, (tile_size, custom_tile_size), separate_alpha)
    else:
        width = border_width(model)
        wide = with_border(img, BORDERS[padding.name], width)
        result = _upscaled(context, wide, model, scale, (tile_size, custom_tile_size), separate_alpha)
        result = without_border(result, width * scale)
    return blended(img, result, strength / 100) if model.scale == 1 and strength < 100 else result


def _upscaled(
    context: NodeContext, img: Image, model: Model, scale: int, tiles: tuple[TileSize, int], separate: bool
) -> Image:
    """One image, or its colours and its alpha one after the other."""
    if separate and img.ndim == 3 and img.shape[2] == 4:
        colours = _upscaled(context, np.ascontiguousarray(img[..., :3]), model, scale, tiles, False)
        alpha = _upscaled(context, np.ascontiguousarray(img[..., 3]), model, scale, tiles, False)
        return np.ascontiguousarray(np.dstack((colours, alpha)))
    chosen, progress = settings(context), NodeProgress(context)
    options = UpscaleSettings(tile=_tile(tiles), memory_limit=memory_limit(chosen), outscale=scale)
    with progress.watching_modules():
        return from_picture(upscale_picture(runnable(model, chosen), to_picture(img), options, progress=progress))


def _tile(tiles: tuple[TileSize, int]) -> Tile:
    """The engine's name for a choice of the dropdown: automatic, none, the largest, a number, or as connected."""
    size, custom = tiles
    if size in (tile_sizes.ESTIMATE, tile_sizes.MAX_TILE_SIZE):
        return "auto"
    if size == tile_sizes.NO_TILING:
        return 0
    number = custom if size == tile_sizes.CUSTOM else size
    if number < 32:
        raise InvalidOptionError(f"a tile of {number} pixels is too small: give 32 or more, or choose Auto")
    return number
