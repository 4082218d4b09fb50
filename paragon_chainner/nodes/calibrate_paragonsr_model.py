"""Calibrate ParagonSR Model."""

from __future__ import annotations

from typing import Any

import torch

from paragon_arch.spandrel_support import family_model

from ..calibration import Calibrator
from ..host import Image, Model, NodeContext, api, inputs, outputs, settings
from ..models import placed
from ..pictures import to_picture
from .group import ICON, SAME_MODEL, group


@group.register(
    schema_id="chainner:paragonsr:calibrate_model",
    name="Calibrate ParagonSR Model",
    description=[
        "Give a dynamic model whose kernels were never tracked in training the kernels that it uses on these images.",
        "Connect Load Images to it, with a dozen or more pictures of the kind that you want to upscale.",
        "The kernels become their mean over all pictures. A new model comes out, which can be fused.",
    ],
    icon=ICON,
    inputs=[
        inputs.SrModelInput().with_id(0),
        inputs.ImageInput("Image Sequence").with_id(1),
    ],
    iterator_inputs=api.IteratorInputInfo(inputs=1),
    outputs=[
        outputs.ModelOutput(model_type=SAME_MODEL, kind="tagged").with_id(0),
        outputs.NumberOutput("Images", output_type="uint").with_id(1),
    ],
    kind="collector",
    node_context=True,
    see_also=["chainner:paragonsr:fuse_model", "chainner:image:load_images"],
)
def calibrate_paragonsr_model_node(context: NodeContext, model: Model, _: None) -> Any:
    """Return chaiNNer's collector of images, whose result is (a calibrated copy, number of images)."""
    chosen = settings(context)
    calibrator = Calibrator(family_model(model))

    def on_iterate(image: Image) -> None:
        context.check_aborted()
        pixels = torch.from_numpy(to_picture(image).pixels).movedim(-1, 0)[None]
        calibrator.add(pixels.expand(-1, 3, -1, -1))

    def on_complete() -> tuple[Model, int]:
        return placed(calibrator.result(), chosen), calibrator.count

    return api.Collector(on_iterate=on_iterate, on_complete=on_complete)
