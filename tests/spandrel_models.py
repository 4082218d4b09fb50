"""One or more models of every architecture that spandrel has built in, as state dicts without storage."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

AURA: dict[str, Any] = {
    "dim": 16,
    "image_size": 256,
    "input_image_size": 64,
    "style_network": {"dim_in": 16, "dim_out": 32, "depth": 2},
    "unconditional": True,
}
RGB: dict[str, Any] = {"num_in_ch": 3, "num_out_ch": 3}

MODELS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "ATD": (("ATD", {}), ("ATD", {"upsampler": "pixelshuffledirect", "upscale": 2})),
    "AuraSR": (("AuraSR", AURA),),
    "CRAFT": (("CRAFT", {}),),
    "Compact": (("Compact", {}), ("Compact", {"num_feat": 24, "num_conv": 8, "upscale": 2})),
    "DAT": (("DAT", {}), ("DAT", {"upsampler": "pixelshuffledirect", "upscale": 2})),
    "DCTLSA": (("DCTLSA", {}),),
    "DITN": (("DITN", {}),),
    "DRCT": (("DRCT", {}),),
    "DRUNet": (("DRUNet", {}),),
    "DnCNN": (("DnCNN", {}),),
    "ESRGAN": (("ESRGAN", {}), ("ESRGAN", {"plus": True, "scale": 2})),
    "FBCNN": (("FBCNN", {}),),
    "FDAT": (("FDAT", {}),),
    "FFTformer": (("FFTformer", {}),),
    "GFPGAN": (("GFPGAN", {}),),
    "GRL": (("GRL", {}),),
    "HAT": (("HAT", {}), ("HAT", {"upsampler": "pixelshuffle", "upscale": 2})),
    "HVICIDNet": (("HVICIDNet", {}),),
    "IPT": (("IPT", {"n_feats": 16, "num_layers": 2, "patch_size": 12}),),
    "KBNet": (("KBNet_l", {}), ("KBNet_s", {})),
    "LaMa": (("LaMa", {}),),
    "MMRealSR": (("MMRealSR", RGB),),
    "MixDehazeNet": (("MixDehazeNet", {}),),
    "MoESR": (("MoESR", {}),),
    "MoSR": (("MoSR", {}), ("MoSR", {"upsampler": "dys"})),
    "NAFNet": (("NAFNet", {"enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}),),
    "OmniSR": (("OmniSR", {}),),
    "PLKSR": (("PLKSR", {}), ("RealPLKSR", {})),
    "RCAN": (("RCAN", {"n_resgroups": 2, "n_resblocks": 2}),),
    "RGT": (("RGT", {}),),
    "RealCUGAN": (("UpCunet2x", {}), ("UpCunet3x", {}), ("UpCunet4x", {}), ("UpCunet2x_fast", {})),
    "RestoreFormer": (("RestoreFormer", {}),),
    "RetinexFormer": (("RetinexFormer", {}),),
    "SAFMN": (("SAFMN", {"dim": 36}),),
    "SAFMNBCIE": (("SAFMNBCIE", {"dim": 36}),),
    "SCUNet": (("SCUNet", {}),),
    "SPAN": (("SPAN", RGB),),
    "SeemoRe": (("SeemoRe", {}),),
    "SwiftSRGAN": (("SwiftSRGAN", {}),),
    "Swin2SR": (("Swin2SR", {"window_size": 8}),),
    "SwinIR": (
        ("SwinIR", {"window_size": 8}),
        ("SwinIR", {"window_size": 8, "upsampler": "nearest+conv", "upscale": 4}),
    ),
    "Uformer": (("Uformer", {}),),
}
"""By architecture id: class names in ``spandrel.architectures.<id>`` and arguments; defaults where they do."""


def state_dicts(architecture: str) -> Iterator[dict[str, Tensor]]:
    """State dicts of the models listed for an architecture."""
    package = importlib.import_module(f"spandrel.architectures.{architecture}")
    for name, arguments in MODELS[architecture]:
        yield _build(getattr(package, name), arguments).state_dict()


def _build(model: type[nn.Module], arguments: dict[str, Any]) -> nn.Module:
    with (
        torch.random.fork_rng(devices=[]),
        contextlib.redirect_stdout(io.StringIO()),  # some announce themselves
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                return model(**arguments)
        except RuntimeError:  # its constructor computes with values
            return model(**arguments)
