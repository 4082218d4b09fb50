"""Methods that enlarge: our models, other programs' files through spandrel and ncnn, and bicubic."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from spandrel import ImageModelDescriptor, ModelLoader

import paragon_arch
from paragon_arch.errors import CheckpointError, InvalidOptionError, UnknownLayoutError, UnsupportedFormatError

from ..data.imresize import imresize
from ..data.pairs import to_pixels, to_tensor
from ..data.pictures import Pixels
from ..evaluate import Enlarge, network

BICUBIC = "bicubic"


def bicubic(scale: int) -> Enlarge:
    """MATLAB's bicubic enlargement."""
    return lambda low: imresize(low, scale)


def open_method(path: Path) -> tuple[int, Enlarge]:
    """The scale and the function of a model file.

    Args:
        path: a checkpoint of this family; else whatever spandrel knows; or a ``.param`` of ncnn beside its ``.bin``,
            of a network that takes and gives RGB in 0..1 and keeps its borders.

    Raises:
        ParagonError: nobody can open it.
    """
    if path.suffix == ".param":
        return _ncnn(path)
    try:
        model = paragon_arch.load(path)
    except (UnknownLayoutError, UnsupportedFormatError) as error:
        return _spandrel(path, error)
    return model.scale, network(model)


def _spandrel(path: Path, reason: Exception) -> tuple[int, Enlarge]:
    try:
        found: Any = ModelLoader(device="cpu").load_from_file(path)
    except Exception as error:
        raise CheckpointError(f"{path}: neither of this family ({reason}) nor known to spandrel ({error})") from error
    if not isinstance(found, ImageModelDescriptor) or found.input_channels != 3 or found.output_channels != 3:
        raise CheckpointError(f"{path}: spandrel knows it, but it is not a model from RGB to RGB")
    descriptor = cast("Any", found.eval())

    def upscale(low: Pixels) -> Pixels:
        with torch.inference_mode():
            return to_pixels(descriptor(to_tensor(low[None])))[0]

    return int(descriptor.scale), upscale


def _ncnn(path: Path) -> tuple[int, Enlarge]:
    try:
        ncnn: Any = import_module("ncnn")
    except ImportError as error:
        raise InvalidOptionError(f'{path}: ncnn files need ncnn: pip install -e ".[scores]"') from error
    weights = path.with_suffix(".bin")
    net = ncnn.Net()
    net.opt.use_vulkan_compute, net.opt.num_threads = False, torch.get_num_threads()
    if not weights.is_file() or net.load_param(str(path)) or net.load_model(str(weights)):
        raise CheckpointError(f"{path}: ncnn cannot load it; its weights are expected in {weights.name}")
    first, last = net.input_names()[0], net.output_names()[-1]

    def upscale(low: Pixels) -> Pixels:
        planes = np.ascontiguousarray(low.transpose(2, 0, 1), np.float32) / 255
        extractor = net.create_extractor()
        extractor.input(first, ncnn.Mat(planes).clone())
        code, result = extractor.extract(last)
        if code:
            raise CheckpointError(f"{path}: ncnn failed with code {code}")
        values = cast("NDArray[np.float32]", np.array(result, np.float32).clip(0, 1).transpose(1, 2, 0))
        return np.rint(values * 255).astype(np.uint8)

    side = 32
    height, width = upscale(np.full((side, side, 3), 128, np.uint8)).shape[:2]
    if height != width or height % side:
        raise CheckpointError(
            f"{path}: {side}x{side} pixels become {width}x{height}; networks that cut borders are not read"
        )
    return height // side, upscale
