"""Writing the result of a run as a checkpoint."""

from __future__ import annotations

from pathlib import Path

from paragon_arch.files.checkpoint import write_checkpoint
from paragon_arch.files.hints import HINT_NAMES
from paragon_arch.layouts import identify
from paragon_arch.networks.base import SRNetwork
from paragon_engine.quantize import save_qat
from paragon_engine.quantize.fake import ranges_of


def export(network: SRNetwork, path: Path, *, overwrite: bool, recipe: str | None = None) -> None:
    """Write a trained network as safetensors, with the values that its tensors do not tell, and its recipe.

    After quantisation-aware training the ranges of its layers are stored, too, for `deploy quantize`; no recipe then.

    Raises:
        OutputExistsError: the file is there and ``overwrite`` is false.
        InvalidWeightsError: a weight is not finite.
    """
    if ranges_of(network):
        save_qat(network, path, overwrite=overwrite)
        return
    hyper = network.hyperparameters
    hints = {name: hyper[name] for name in HINT_NAMES if hyper.get(name) is not None}
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    layout = identify(state)
    metadata = {} if layout is None else {"paragonsr.layout": layout.id}
    if recipe is not None:
        metadata["paragonsr.recipe"] = recipe
    write_checkpoint(path, state, hints=hints, metadata=metadata, overwrite=overwrite)
