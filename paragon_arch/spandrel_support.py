"""The family's layouts as architectures of spandrel's registry."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from spandrel import (
    MAIN_REGISTRY,
    Architecture,
    ArchSupport,
    ImageModelDescriptor,
    ModelTiling,
    SizeRequirements,
)
from torch import Tensor

from .copying import private_copy
from .errors import InvalidOptionError, ParagonWarning
from .files.checkpoint import unwrap
from .files.hints import EXTRA_PREFIXES
from .inspection import Inspection
from .layouts import LAYOUTS, identify
from .layouts.base import Layout
from .lineage import Lineage
from .loading import Opened, open_checkpoint
from .model import channels_of, size_needs, tiling_advice
from .networks.base import SRNetwork

LINEAGE = Lineage()
"""The descriptors in use: other programs' blends of two of them keep what no weight shows."""


class ParagonArchitecture(Architecture[SRNetwork]):
    """One layout as spandrel sees it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        super().__init__(
            id=f"{layout.generation}-{layout.id}", name=f"{layout.generation} {layout.id}", detect=self._is_mine
        )

    def _is_mine(self, state_dict: Mapping[str, Any]) -> bool:
        # other loaders unwrap less than we do: try again on what we would read
        return identify(unwrap_tolerantly(state_dict)) is self.layout

    def load(self, state_dict: Mapping[str, Any]) -> ParagonModelDescriptor:
        """Load a state dict that `detect` accepted; what it does not say is guessed with a `ParagonWarning`."""
        opened = open_checkpoint(state_dict, LINEAGE.values(unwrap_tolerantly(state_dict)), on_ambiguous="guess")
        for problem in opened.report.problems:
            warnings.warn(problem, ParagonWarning, stacklevel=2)
        return ParagonModelDescriptor(opened)


class ParagonModelDescriptor(ImageModelDescriptor[SRNetwork]):
    """spandrel's descriptor plus ``report``, which says what the model is and which source decided each value."""

    def __init__(self, opened: Opened) -> None:
        network, needs = opened.network, size_needs(opened.network)
        self.report: Inspection = opened.report
        self.layout: Layout = opened.layout
        super().__init__(
            network,
            network.state_dict(),
            architecture=ARCHITECTURES[opened.layout.id],
            purpose="Restoration" if network.scale == 1 else "SR",
            tags=_tags(opened.report),
            supports_half=network.traits.half,
            supports_bfloat16=network.traits.bfloat16,
            scale=network.scale,
            input_channels=channels_of(network),
            output_channels=channels_of(network),
            size_requirements=SizeRequirements(needs.minimum, needs.multiple_of),
            tiling=ModelTiling[tiling_advice(network).name],
        )
        LINEAGE.add(self)


def family_model(model: ImageModelDescriptor[Any]) -> ParagonModelDescriptor:
    """The same model, if it is one of the family.

    Raises:
        InvalidOptionError: it is not; the message names its architecture.
    """
    if not isinstance(model, ParagonModelDescriptor):
        raise InvalidOptionError(
            f"this is a model of the architecture {model.architecture.name}; only ParagonSR models can be used here"
        )
    return model


def private_model(model: ImageModelDescriptor[Any]) -> ParagonModelDescriptor:
    """A copy of a model of the family that may be changed: on the CPU, in FP32, without what a host hung on it.

    Raises:
        InvalidOptionError: it is not one of the family.
    """
    own = family_model(model)
    network = private_copy(own.model, device="cpu", dtype=torch.float32).eval().requires_grad_(False)
    return ParagonModelDescriptor(Opened(network, own.layout, own.report))


def _tags(report: Inspection) -> list[str]:
    """Variant, state of fusing, values with their sources; the architecture's name has the layout.

    Host programs show them beside a model. chaiNNer's nodes of ours read them, so order and spelling matter.
    """
    values = {name: item for name, item in report.values.items() if name != "scale" and item.value is not None}
    tags = [report.variant or "custom size", report.fused_state]
    tags += [f"{name} {item.value} ({item.source})" for name, item in values.items()]
    guessed = report.ambiguous.get("scale")
    return tags if guessed is None else [*tags, "scale guessed"]


def unwrap_tolerantly(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of somebody else's state dict; {} if it is of no use."""
    tensors = unwrap(state_dict, tolerant=True)[0]
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(EXTRA_PREFIXES)}


ARCHITECTURES: dict[str, ParagonArchitecture] = {layout.id: ParagonArchitecture(layout) for layout in LAYOUTS}


def register() -> None:
    """Make spandrel's loaders recognise the family. Calling it again, from any copy of this package, is harmless."""
    MAIN_REGISTRY.add(
        *(ArchSupport.from_architecture(architecture) for architecture in ARCHITECTURES.values()),
        ignore_duplicates=True,
    )
