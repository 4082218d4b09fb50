"""norm_affine_fold, norm_moments and norm_split: norms cost as few passes over the image as can be.

Only 1x1 layers take a norm's shift: before zero padding a shift is not the same as a bias behind it, because the
padding stays zero. That rules out depthwise convolutions, and window attention with its padded positions.
"""

from __future__ import annotations

from torch import Tensor, nn

from paragon_arch.networks.layers import RMSNorm
from paragon_arch.networks.v2_release import TokenAttention

from ..chains import Product, Residual
from ..form import InferenceForm
from ..modules import GainlessContext, NormedContextStep, NormedProduct, ScaledContext, SplitNorm, UnitRMS
from ..rewriting import Chain, pair, rewrite


def norm_affine_fold(form: InferenceForm) -> int:
    """Scale and shift of a norm go into the 1x1 layers that read it; return the number of places."""
    return rewrite(form, _affine)


def _affine(chain: Chain, position: int) -> tuple[int, Chain] | None:
    found = pair(chain, position)
    if found is None:
        return None
    norm, reader = found
    readers = _readers(reader)
    if readers is None:
        return None
    if isinstance(norm, RMSNorm):
        shift = {"bias": "bias", "offset": "offset"}.get(norm.form)
        unit: nn.Module = UnitRMS(inside=norm.form == "bias")
        scale, offset = norm.scale, None if shift is None else norm.get_parameter(shift)
    elif isinstance(norm, nn.GroupNorm) and norm.affine:
        unit = nn.GroupNorm(norm.num_groups, norm.num_channels, eps=norm.eps, affine=False)
        scale, offset = norm.weight, norm.bias
    else:
        return None
    for layer in readers:
        _absorb(layer, scale.detach().flatten(), None if offset is None else offset.detach().flatten())
    return 2, [unit, reader]


def _readers(module: nn.Module) -> list[nn.Conv2d | nn.Linear] | None:
    """The 1x1 layers that are all that reads the module's input, or None."""
    if isinstance(module, TokenAttention):
        return [module.q_proj]
    if isinstance(module, Product) and isinstance(module.left, nn.Sequential):
        heads = (module.left[0], module.right)
        layers = [layer for layer in heads if isinstance(layer, nn.Conv2d) and _is_pointwise(layer)]
        return [*layers] if len(layers) == len(heads) else None
    return [module] if isinstance(module, nn.Conv2d) and _is_pointwise(module) else None


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and layer.groups == 1 and layer.bias is not None


def _absorb(layer: nn.Conv2d | nn.Linear, scale: Tensor, offset: Tensor | None) -> None:
    weight = layer.weight.data
    if offset is not None:
        assert layer.bias is not None
        layer.bias.data += weight.flatten(1) @ offset
    weight *= scale.view(1, -1, *(1,) * (weight.dim() - 2))


def norm_moments(form: InferenceForm) -> int:
    """Norms over the whole image shrink to two moments, which their readers apply; return the number of places."""
    return rewrite(form, _normed_context) + rewrite(form, _normed_product)


def _normed_context(chain: Chain, position: int) -> tuple[int, Chain] | None:
    step = chain[position]
    if not isinstance(step, Residual) or len(step.inner) != 2:
        return None
    norm, context = step.inner
    if isinstance(norm, nn.GroupNorm) and isinstance(context, ScaledContext):
        return 1, [NormedContextStep(norm, context)]
    return None


def _normed_product(chain: Chain, position: int) -> tuple[int, Chain] | None:
    found = pair(chain, position)
    if found is None:
        return None
    norm, product = found
    if not isinstance(norm, nn.GroupNorm) or norm.num_groups != 1 or not isinstance(product, Product):
        return None
    if _readers(product) is None:
        return None
    assert isinstance(product.left, nn.Sequential) and isinstance(product.right, nn.Conv2d)
    return 2, [NormedProduct(norm, product.left, product.right)]


def norm_split(form: InferenceForm) -> int:
    """Norms over the whole image as mean, deviations and their mean square; return the number of places."""
    rewrite(form, _gain_into_norm)
    return rewrite(form, _split)


def _gain_into_norm(chain: Chain, position: int) -> tuple[int, Chain] | None:
    """A context's gain into the affine of the norm before it."""
    found = pair(chain, position)
    if found is None:
        return None
    norm, context = found
    if not isinstance(norm, nn.GroupNorm) or not norm.affine or not isinstance(context, ScaledContext):
        return None
    gain = context.gain.flatten()
    for values in (norm.weight.data, norm.bias.data):
        values[: len(gain)] *= gain
    return 2, [norm, GainlessContext(context)]


def _split(chain: Chain, position: int) -> tuple[int, Chain] | None:
    norm = chain[position]
    return (1, [SplitNorm(norm)]) if isinstance(norm, nn.GroupNorm) and norm.num_groups == 1 else None
