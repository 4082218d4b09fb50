"""Calibrate, export and quantise, with real models and a stand-in for ComfyUI."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import paragon_arch
from nodes.calibrate_model import CalibrateModel
from nodes.export_onnx import ExportOnnx
from nodes.fuse_model import FuseModel
from nodes.load_graph import LoadGraph
from nodes.quantize_int8 import QuantizeInt8
from paragon_arch.dead_leaves import dead_leaves
from paragon_arch.errors import FusionError, InvalidOptionError, OutputExistsError
from paragon_arch.networks.v2_magic import ParagonSR2Magic
from tests.engine_models import descriptor
from tests.nodes.stand_in import Host, foreign_model

pytest.importorskip("onnxruntime")


def pictures(count: int, side: int = 96) -> Tensor:
    return torch.cat([dead_leaves(side, seed) for seed in range(count)]).movedim(1, -1)


def untracked() -> paragon_arch.ParagonModelDescriptor:
    """A model whose dynamic kernels were never collected."""
    torch.manual_seed(0)
    network = ParagonSR2Magic(scale=2, num_feat=8, num_groups=1, num_blocks=2, hidden=12, branch=1)
    return paragon_arch.load(network.state_dict(), scale=2)


@pytest.mark.usefixtures("host")
def test_calibrating_makes_a_model_that_can_be_fused() -> None:
    model = untracked()
    with pytest.raises(FusionError):
        FuseModel().fuse(model)
    calibrated, info = CalibrateModel().calibrate(model, pictures(2), crops=8)
    assert "looked at 2 crops of 2 pictures" in info
    assert "note: only 2 crops" in info
    assert FuseModel().fuse(calibrated)[0].report.fused
    with pytest.raises(FusionError):
        FuseModel().fuse(model)


def test_an_export_is_found_by_the_loader(host: Host) -> None:
    node, model = ExportOnnx(), descriptor()
    paths, report = node.export(model, "mine/2x_test", "models/onnx", False, "fp32", 18, pictures(1))
    path = Path(paths)
    assert path == host.base.resolve() / "models/onnx/mine/2x_test_op18_fp32.onnx"
    assert f"{path.name}: written" in report
    assert "1 " in report
    graph, _ = LoadGraph().load("mine/2x_test_op18_fp32.onnx", "auto")
    x = torch.rand(1, 3, 33, 29)
    torch.testing.assert_close(graph(x), model(x), rtol=0, atol=1e-4)
    with pytest.raises(OutputExistsError):
        node.export(model, "mine/2x_test", "models/onnx", False, "fp32", 18)
    assert list((host.base / "temp").iterdir()) == []


def test_quantising_keeps_to_its_target_or_writes_nothing(host: Host) -> None:
    path, report = QuantizeInt8().quantize(
        descriptor(), pictures(4), "2x_int8", "output", False, "minmax", 0.25, measure_speed=False
    )
    target = host.base.resolve() / "output/2x_int8.onnx"
    assert path == (str(target) if target.exists() else "")
    assert ("not written" in report) != target.exists()


def test_nothing_is_written_outside(host: Host) -> None:
    with pytest.raises(InvalidOptionError, match="leads out"):
        ExportOnnx().export(descriptor(), "../../escaped", "output", True, "fp32", 18)
    with pytest.raises(InvalidOptionError, match="leads out"):
        QuantizeInt8().quantize(descriptor(), pictures(2), "../../escaped", "output", True, "minmax", 0.25, False)
    assert not list(host.base.rglob("escaped*"))


@pytest.mark.usefixtures("host")
def test_another_familys_model_is_named_and_refused() -> None:
    model = foreign_model()
    with pytest.raises(InvalidOptionError, match=model.architecture.name):
        CalibrateModel().calibrate(model, pictures(1), 1)
    with pytest.raises(InvalidOptionError, match=model.architecture.name):
        ExportOnnx().export(model, "x", "output", False, "fp32", 18)
    with pytest.raises(InvalidOptionError, match=model.architecture.name):
        QuantizeInt8().quantize(model, pictures(2), "x", "output", False, "minmax", 0.25, False)
