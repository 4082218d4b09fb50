"""The public functions of the package. Only what returns a spandrel descriptor imports spandrel."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, nn

from .errors import FusionError, InvalidOptionError, ParagonWarning
from .files.checkpoint import write_checkpoint
from .fusion import Fusion, fuse_network
from .inspection import Inspection
from .layouts import identify
from .loading import BLEND, Opened, Source, TrackedFlags, open_checkpoint
from .model import FamilyModel
from .networks.base import SRNetwork
from .resolve import OPTIONS

if TYPE_CHECKING:
    from .spandrel_support import ParagonModelDescriptor

logger = logging.getLogger("paragonsr")

Model = TypeVar("Model", "ParagonModelDescriptor", FamilyModel, nn.Module)


def load(
    source: Source,
    *,
    scale: int | None = None,
    alpha: float | None = None,
    window_size: int | None = None,
    use_norm: bool | None = None,
    attention: str | None = None,
    tracked: TrackedFlags = "repair",
) -> ParagonModelDescriptor:
    """Load a checkpoint of the family, fused or not, ready for inference.

    Args:
        source: path of a ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt`` file, or a state dict, wrapped or bare.
        scale, alpha, window_size, use_norm, attention: values that the checkpoint may not store; None lets the
            documented order decide (docs/checkpoints.md). A value that the tensors disprove is an error.
        tracked: "repair" uses tracked kernels whose flags deny them (a known fault of EMA copies), "keep" does not.

    Returns:
        A spandrel descriptor: ``.model`` is the network in evaluation mode, without gradients, on the CPU;
        ``.report`` says what was found and which source decided each value. Calling it with an image
        ``(1, C, H, W)`` in 0..1 upscales it.

    Raises:
        CheckpointError: the file cannot be read, is unsafe or damaged.
        LayoutError: its tensors are not a model of the family.
        AmbiguousValueError: the scale is stored nowhere and measuring it was inconclusive.
        InvalidOptionError: a given value is out of range or contradicts the tensors.
    """
    from .spandrel_support import ParagonModelDescriptor

    return ParagonModelDescriptor(_opened(source, _overrides(scale, alpha, window_size, use_norm, attention), tracked))


def open_model(
    source: Source,
    *,
    scale: int | None = None,
    alpha: float | None = None,
    window_size: int | None = None,
    use_norm: bool | None = None,
    attention: str | None = None,
    tracked: TrackedFlags = "repair",
) -> FamilyModel:
    """As `load`, for programs of this project: without spandrel, whose import takes longer than torch's."""
    return FamilyModel(_opened(source, _overrides(scale, alpha, window_size, use_norm, attention), tracked))


def _opened(source: Source, overrides: Mapping[str, object], tracked: TrackedFlags) -> Opened:
    """Open a checkpoint; its problems are warnings of whoever called the public function."""
    opened = open_checkpoint(source, overrides, tracked_flags=tracked)
    for problem in opened.report.problems:
        warnings.warn(f"{opened.report.name}: {problem}", ParagonWarning, stacklevel=3)
    return opened


def inspect(
    source: Source,
    *,
    scale: int | None = None,
    alpha: float | None = None,
    window_size: int | None = None,
    use_norm: bool | None = None,
    attention: str | None = None,
    tracked: TrackedFlags = "repair",
) -> Inspection:
    """Say what a checkpoint is. As `load`, but an unsettled scale is reported under ``ambiguous``, not raised."""
    overrides = _overrides(scale, alpha, window_size, use_norm, attention)
    return open_checkpoint(source, overrides, on_ambiguous="guess", tracked_flags=tracked).report


def fuse(model: Model, *, accept_identity: bool = False) -> Model:
    """Fuse the training-time branches of a model into single convolutions.

    Args:
        model: from `load` or `open_model`, or a network; left as it is.
        accept_identity: fuse dynamic kernels that were never tracked as identity kernels.

    Returns:
        A new object of the same kind. Fusing what is fused, or has nothing to fuse, returns an equal copy and logs so.

    Raises:
        FusionError: dynamic kernels were never tracked, or the self-check (keys, outputs on several sizes) failed.
        InvalidOptionError: the model is not one of the family.
    """
    return fuse_verbosely(model, accept_identity=accept_identity)[0]


def fuse_verbosely(model: Model, *, accept_identity: bool = False) -> tuple[Model, Fusion]:
    """As `fuse`, and also return what was done."""
    fusion = fuse_network(network_of(model), accept_identity=accept_identity)
    logger.info("%s", fusion.message)
    if isinstance(model, nn.Module):
        return fusion.network, fusion  # pyright: ignore[reportReturnType] - a network comes back for a network
    network = fusion.network
    report = replace(
        model.report,
        fused=network.fused,
        hyperparameters=network.hyperparameters,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )
    return type(model)(Opened(network, model.layout, report)), fusion


def save(
    model: ParagonModelDescriptor | FamilyModel | nn.Module,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    hint_tensors: bool = True,
    quantization: Mapping[str, Tensor] | None = None,
) -> None:
    """Save a model as safetensors in the family's own key format, with everything a loader must know.

    Args:
        model: from `load` or `open_model`, or a network of the family.
        path: ends in ``.safetensors``.
        overwrite: replace an existing file (otherwise `OutputExistsError`).
        hint_tensors: also store the values that shapes do not prove as small tensors, for loaders that cannot see
            metadata. Strict loaders of the original training framework refuse unknown tensors: switch it off for them.
        quantization: what quantisation-aware training stores beside the weights (docs/quantization.md).
    """
    network = network_of(model)
    state = network.state_dict()
    layout = identify(state)
    if layout is None:
        raise FusionError("the network's tensors are no longer those of a known layout; it cannot be saved")
    hints = {name: network.hyperparameters[name] for name in OPTIONS if network.hyperparameters.get(name) is not None}
    metadata = {"paragonsr.layout": layout.id, "paragonsr.fused": str(network.fused).lower()}
    report = getattr(model, "report", None)
    if isinstance(report, Inspection) and report.blend:
        metadata[BLEND] = report.blend
    write_checkpoint(
        path,
        state,
        hints=hints,
        metadata=metadata,
        hint_tensors=hint_tensors,
        quantization=quantization,
        overwrite=overwrite,
    )


def network_of(model: object) -> SRNetwork:
    """The network inside a descriptor, or the network itself."""
    network = getattr(model, "model", model)
    if not isinstance(network, SRNetwork):
        raise InvalidOptionError(f"{type(network).__name__} is not a network of the ParagonSR family")
    return network


def _overrides(
    scale: int | None, alpha: float | None, window_size: int | None, use_norm: bool | None, attention: str | None
) -> dict[str, object]:
    return {
        "scale": scale,
        "alpha": alpha,
        "window_size": window_size,
        "use_norm": use_norm,
        "attention": attention,
    }
