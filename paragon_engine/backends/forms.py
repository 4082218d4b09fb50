"""What the backends run: the inference form of a network, as a module or as an ONNX graph."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import nn

from paragon_arch.copying import private_copy
from paragon_arch.errors import FusionError, InvalidOptionError, OutputError
from paragon_arch.fusion import fuse_network
from paragon_arch.networks.base import SRNetwork

from ..inference import inference_form
from ..onnx_export import TOLERANCE, Precision, compare, export_onnx, sorts_tokens
from ..packages import installed
from ..progress import log

_GRAPHS: WeakKeyDictionary[nn.Module, dict[Precision, bytes]] = WeakKeyDictionary()


def fused(network: SRNetwork) -> SRNetwork:
    """The network without training branches; as it is where it must not be fused (kernels that were never tracked)."""
    if network.fused or not network.fusible:
        return network
    try:
        return fuse_network(network).network
    except FusionError as error:
        log.info("runs unfused: %s", error)
        return network


def graph_of(network: SRNetwork, precision: Precision = "fp32") -> bytes:
    """The ONNX graph of a network's inference form, compared with the network; made once for each network.

    Where the inference form cannot be exported for every size, the graph is that of the fused network.

    Raises:
        InvalidOptionError: its graph computes something else by design (the pro variant of v2-atd).
        OutputError: the graph is wrong.
    """
    if sorts_tokens(network):
        raise InvalidOptionError(
            "this network sorts its tokens in an order that its graph does not keep: run it with the torch backend"
        )
    graphs = _GRAPHS.setdefault(network, {})
    if precision not in graphs:
        graphs[precision] = _export(network, precision)
    return graphs[precision]


def _export(network: SRNetwork, precision: Precision) -> bytes:
    plain = fused(network)
    if next(plain.parameters()).device.type != "cpu":  # the caller's network stays where it is
        plain = private_copy(plain, device="cpu")
    try:
        return _checked(inference_form(plain, target="graph"), plain, precision)
    except OutputError as error:
        log.info("the inference form is not exported: %s", error)
        return _checked(plain, plain, precision)


def _checked(form: nn.Module, network: SRNetwork, precision: Precision) -> bytes:
    graph = export_onnx(form, precision=precision)
    if precision == "fp32" and installed("onnxruntime"):
        worst = compare(graph, network, sizes_for(network))
        if not worst <= TOLERANCE:
            raise OutputError(f"the exported graph differs from the network by {worst:.1e}")
    return graph


def sizes_for(network: SRNetwork) -> tuple[tuple[int, int, int], ...]:
    """Sizes to compare a graph at, none below the network's minimum."""
    least = network.minimum_size
    return ((1, max(17, least), 23), (2, 40, 31), (1, max(8, least), 129), (1, 61, max(5, least)))
