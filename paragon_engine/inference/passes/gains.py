"""layer_scale_fold and gain_fold: constant factors move into the layer that makes what they multiply."""

from __future__ import annotations

from torch import nn

from paragon_arch.networks.layers import InceptionContext, LayerScale, WindowAttention
from paragon_arch.networks.v2_release import TokenAttention

from ..chains import Gain
from ..form import InferenceForm
from ..modules import ScaledContext, scale_output
from ..rewriting import Chain, pair, rewrite


def layer_scale_fold(form: InferenceForm) -> int:
    """Apply the pass; return the number of places."""
    return rewrite(form, _layer_scale)


def _layer_scale(chain: Chain, position: int) -> tuple[int, Chain] | None:
    found = pair(chain, position)
    if found is None or not isinstance(found[1], LayerScale):
        return None
    before, gamma = found[0], found[1].gamma.detach().flatten()
    if isinstance(before, InceptionContext):
        return 2, [ScaledContext(before, gamma)]
    layer = _last_layer(before)
    if layer is None:
        return None
    scale_output(layer, gamma)
    return 2, [before]


def _last_layer(module: nn.Module) -> nn.Conv2d | nn.Linear | None:
    """The layer whose output is the module's output."""
    if isinstance(module, nn.Conv2d):
        return module
    if isinstance(module, WindowAttention):
        return module.proj
    return module.out_proj if isinstance(module, TokenAttention) else None


def gain_fold(form: InferenceForm) -> int:
    """Apply the pass; return the number of places."""
    return rewrite(form, _gain)


def _gain(chain: Chain, position: int) -> tuple[int, Chain] | None:
    found = pair(chain, position)
    if found is None or not isinstance(found[0], nn.Conv2d) or not isinstance(found[1], Gain):
        return None
    scale_output(found[0], found[1].factor)
    return 2, [found[0]]
