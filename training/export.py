"""Writing the result of a run as a checkpoint of the release layout."""

from __future__ import annotations

from pathlib import Path

from paragon_arch.files.checkpoint import write_checkpoint
from paragon_arch.layouts.v2_release import RELEASE
from paragon_arch.networks.base import SRNetwork


def export(network: SRNetwork, path: Path, *, overwrite: bool) -> None:
    """Write a trained network as safetensors, with the scale and alpha that its tensors do not tell.

    Raises:
        OutputExistsError: the file is there and ``overwrite`` is false.
        InvalidWeightsError: a weight is not finite.
    """
    hints = {"scale": network.scale, "alpha": network.alpha}
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"paragonsr.layout": RELEASE.id}
    write_checkpoint(path, state, hints=hints, metadata=metadata, overwrite=overwrite)
