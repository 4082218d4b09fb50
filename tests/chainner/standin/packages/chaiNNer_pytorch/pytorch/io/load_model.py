"""chaiNNer's loader, as far as the order of imports goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ModelDescriptor, ModelLoader
from torch import nn

from .. import io_group


class Extra(Architecture[nn.Module]):
    """Of spandrel_extra_arches."""

    def __init__(self) -> None:
        super().__init__(id="extra", detect=lambda state: False)

    def load(self, state_dict: Mapping[str, Any]) -> Any:
        raise NotImplementedError


MAIN_REGISTRY.add(ArchSupport.from_architecture(Extra()))  # unguarded: a second time would raise


@io_group.register(schema_id="chainner:pytorch:load_model", name="Load Model")
def load_model_node(path: str) -> ModelDescriptor:
    """Load any model."""
    return ModelLoader("cpu").load_from_file(path)
