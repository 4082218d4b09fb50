"""A network that computes through a backend, and which everything else takes for the network it was made from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from paragon_arch.networks.base import SRNetwork, Traits

from ..inference import InferenceForm, inference_form
from .base import DTYPES, Precision, Runner
from .forms import fused
from .pytorch import ModuleRunner

GRAPH_MINIMUM = 2
"""Side of the smallest image that every graph takes (see `paragon_engine.inference.borders`)."""


class BackendNetwork(SRNetwork):
    """A network that computes through a runner.

    It keeps the original, whose traits, receptive field, device and parameters are its own.

    Args:
        network: the original.
        run: computes whole images.
        precisions: what the runner may compute in, in the order it tries them.

    Attributes:
        staged: the runner is PyTorch's inference form in FP32, so that taking it in stages is as fast. (In half
            precision a tile of the whole network is what can be computed again.)
    """

    def __init__(self, network: SRNetwork, run: Runner, *, precisions: Sequence[Precision] = ("fp32",)) -> None:
        super().__init__()
        self.network, self.run, self.precisions = network, run, tuple(precisions)
        self.scale, self.hyperparameters, self.alpha = network.scale, network.hyperparameters, network.alpha
        self.fused, self.fusible, self.minimum_size = network.fused, network.fusible, network.minimum_size
        self._forms: dict[Precision, InferenceForm] = {}
        module = run.module if isinstance(run, ModuleRunner) else None
        self.staged = isinstance(module, InferenceForm) and self.precisions == ("fp32",)
        if isinstance(module, InferenceForm):
            self._forms[self.precisions[0]] = module

    @property
    def traits(self) -> Traits:
        """What the network inside declares."""
        return self.network.traits

    def receptive_field(self) -> int | None:
        """That of the network inside."""
        return self.network.receptive_field()

    def form(self, precision: Precision = "fp32") -> InferenceForm:
        """The inference form of the network inside, on its device; made when it is first needed."""
        if precision not in self._forms:
            with torch.inference_mode(mode=False):  # rebuilding a network may differentiate
                self._forms[precision] = inference_form(fused(self.network)).to(dtype=DTYPES[precision])
        return self._forms[precision]

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, C, H, W)`` to ``(N, C, H*scale, W*scale)``, in FP32."""
        if min(x.shape[2:]) < GRAPH_MINIMUM and not isinstance(self.run, ModuleRunner):
            return self.form()(x.to(torch.float32))
        return self.run(x)
