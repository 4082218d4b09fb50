"""ComfyUI nodes: each takes its widgets' values, calls a function of the libraries, and hands on what comes back."""

from __future__ import annotations

from paragon_engine.catalog import models_folder

from . import card, host, recognition
from .blend_models import BlendModels
from .calibrate_model import CalibrateModel
from .compare_images import CompareImages
from .export_onnx import ExportOnnx
from .fuse_model import FuseModel
from .load_graph import LoadGraph
from .load_model import LoadModel
from .model_info import ModelInfo
from .quantize_int8 import QuantizeInt8
from .save_model import SaveModel
from .texts import search_words
from .upscale_frames import UpscaleFrames
from .upscale_image import UpscaleImage
from .upscale_video import UpscaleVideo

_NODES: dict[str, tuple[type, str]] = {  # workflows refer to these ids for ever
    "ParagonSRLoadModel": (LoadModel, "Load ParagonSR Model"),
    "ParagonSRLoadONNX": (LoadGraph, "Load ParagonSR ONNX"),
    "ParagonSRUpscaleImage": (UpscaleImage, "Upscale Image (ParagonSR)"),
    "ParagonSRUpscaleVideo": (UpscaleVideo, "Upscale Video (ParagonSR)"),
    "ParagonSRUpscaleFrames": (UpscaleFrames, "Upscale Video Frames (ParagonSR)"),
    "ParagonSRCompareImages": (CompareImages, "Compare Images (ParagonSR)"),
    "ParagonSRFuseModel": (FuseModel, "Fuse ParagonSR Model"),
    "ParagonSRBlendModels": (BlendModels, "Blend ParagonSR Models"),
    "ParagonSRCalibrateModel": (CalibrateModel, "Calibrate ParagonSR Model"),
    "ParagonSRExportONNX": (ExportOnnx, "Export ONNX (ParagonSR)"),
    "ParagonSRQuantizeINT8": (QuantizeInt8, "Quantize INT8 (ParagonSR)"),
    "ParagonSRSaveModel": (SaveModel, "Save ParagonSR Model"),
    "ParagonSRModelInfo": (ModelInfo, "ParagonSR Model Info"),
}

NODE_CLASS_MAPPINGS: dict[str, type] = {name: node for name, (node, _) in _NODES.items()}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {name: title for name, (_, title) in _NODES.items()}
for _name, _words in search_words().items():
    NODE_CLASS_MAPPINGS[_name].SEARCH_ALIASES = _words  # pyright: ignore[reportAttributeAccessIssue]


def start() -> None:
    """List the models that come with the pack in ComfyUI's loaders, and add our folder and pages."""
    host.add_graph_folder()
    host.add_page(card.ROUTE, card.page)
    host.add_page(recognition.ROUTE, recognition.answer, "application/json")
    folder = models_folder()
    if folder is not None:
        host.add_models(folder)
