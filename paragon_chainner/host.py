"""chaiNNer's own modules; this can be imported inside chaiNNer only.

They are imported by name at run time, so that the package needs no chaiNNer to be checked and tested.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from spandrel import ImageModelDescriptor, ModelDescriptor

from .interfaces import NodeContext as _NodeContext
from .interfaces import Settings

# chaiNNer compares the annotations of a node with its own classes
if TYPE_CHECKING:
    from numpy.typing import NDArray

    NodeContext = _NodeContext
    Model = LoadedModel = ImageModelDescriptor[Any]
    Image = NDArray[np.float32]
    OnnxModel = Any
    PaddingType = Any
    TileSize = int
else:
    NodeContext = import_module("api").NodeContext
    Model, LoadedModel = ImageModelDescriptor, ModelDescriptor
    Image = np.ndarray
    OnnxModel = import_module("nodes.impl.onnx.model").OnnxModel
    PaddingType = import_module("nodes.impl.upscale.basic_upscale").PaddingType
    TileSize = import_module("nodes.impl.upscale.auto_split_tiles").TileSize

api: Any = import_module("api")
inputs: Any = import_module("nodes.properties.inputs")
outputs: Any = import_module("nodes.properties.outputs")
groups: Any = import_module("nodes.groups")
tile_sizes: Any = import_module("nodes.impl.upscale.auto_split_tiles")
"""The constants of the app's dropdown of tile sizes."""
package: Any = import_module("packages.chaiNNer_pytorch")

_settings: Any = import_module("packages.chaiNNer_pytorch.settings")
_torch_utilities: Any = import_module("nodes.impl.pytorch.utils")


def settings(context: NodeContext) -> Settings:
    """The app's PyTorch settings; the memory that the node caches on a GPU is freed after it, or after the chain."""
    chosen = cast("Settings", _settings.get_settings(context))
    context.add_cleanup(_torch_utilities.safe_cuda_cache_empty, after="node" if chosen.force_cache_wipe else "chain")
    return chosen


def onnx_model(graph: bytes) -> OnnxModel:
    """A serialised graph as the app's own ONNX model."""
    return import_module("nodes.impl.onnx.load").load_onnx_model(graph)
