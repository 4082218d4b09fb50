"""static_kernels: what evaluation decides or adds up on every call is decided once.

Tracked kernels become depthwise convolutions, and the branches of re-parameterised convolutions one kernel.
"""

from __future__ import annotations

from torch import nn

from paragon_arch.networks.reparam import CachedReparam, ReparamDepthwise, merge_branches

from ..chains import TrackedKernel
from ..form import InferenceForm
from ..rewriting import Chain, rewrite
from ..tails import convolution


def static_kernels(form: InferenceForm) -> int:
    """Apply the pass; return the number of places."""
    branches = sum(isinstance(module, ReparamDepthwise) for module in form.modules())
    merge_branches(form)
    return branches + rewrite(form, _kernel)


def _kernel(chain: Chain, position: int) -> tuple[int, Chain] | None:
    module = chain[position]
    if isinstance(module, TrackedKernel):
        return 1, [_depthwise(module)]
    if isinstance(module, CachedReparam):
        weight, bias = module.kernel()
        return 1, [convolution(weight, bias, groups=weight.shape[0])]
    return None


def _depthwise(module: TrackedKernel) -> nn.Conv2d:
    kernel = module.transformer.static_kernel()
    return convolution(kernel, None, groups=kernel.shape[0])
