"""Upscale Image (ParagonSR)."""

from __future__ import annotations

from enum import Enum

from paragon_engine.tiling import TileSize
from paragon_engine.upscale import UpscaleSettings, upscale_picture

from ..host import Image, Model, NodeContext, groups, inputs, outputs, settings
from ..models import runnable, tile_within
from ..pictures import from_picture, to_picture
from ..progress import NodeProgress
from .group import ICON, group


class ParagonSRTiles(Enum):
    """How an image is divided."""

    AUTO = 0
    WHOLE = 1
    CUSTOM = 2


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
        inputs.ImageInput().with_id(1),
        inputs.SrModelInput().with_id(0),
        inputs.EnumInput(
            ParagonSRTiles,
            label="Tiles",
            default=ParagonSRTiles.AUTO,
            option_labels={
                ParagonSRTiles.AUTO: "Auto",
                ParagonSRTiles.WHOLE: "Whole image",
                ParagonSRTiles.CUSTOM: "Custom",
            },
        )
        .with_id(2)
        .with_docs(
            "Tiles change time and memory, not the picture. Auto computes what the model needs for this image and takes"
            " the whole image if that fits into the free memory, or into the limit in the settings.",
            hint=True,
        ),
        groups.if_enum_group(2, ParagonSRTiles.CUSTOM)(
            inputs.NumberInput("Tile Size", min=32, max=None, default=256, unit="px", has_handle=False).with_id(3)
        ),
    ],
    outputs=[
        outputs.ImageOutput("Image", image_type="convenientUpscale(Input0, Input1)", assume_normalized=True).with_id(0)
    ],
    node_context=True,
    see_also=["chainner:pytorch:upscale_image"],
)
def upscale_image_paragonsr_node(
    context: NodeContext, img: Image, model: Model, tiles: ParagonSRTiles, tile_size: int
) -> Image:
    """Return the upscaled image; neither `img` nor `model` is changed."""
    chosen, progress = settings(context), NodeProgress(context)
    worker = runnable(model, chosen)
    tile: TileSize = 0 if tiles is ParagonSRTiles.WHOLE else tile_size
    if tiles is ParagonSRTiles.AUTO:
        tile = tile_within(worker, img.shape[1], img.shape[0], chosen.budget_limit)
    with progress.watching_modules():
        result = upscale_picture(worker, to_picture(img), UpscaleSettings(tile=tile), progress=progress)
    return from_picture(result)
