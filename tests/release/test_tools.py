"""Exporting, calibrating, validating, comparing, engines: the functions and their commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

import paragon_arch
from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_arch.errors import CheckpointNotFoundError, CorruptCheckpointError, ImageError, InvalidOptionError
from paragon_arch.networks.dynamic import TrackedTransformer
from paragon_engine.engines import EngineKey, Profile, check_engine, trtexec_commands
from paragon_engine.onnx_export import export_onnx, usable_opset
from paragon_engine.release import calibrate as calibrating
from paragon_engine.release.artefacts import network_artefact
from paragon_engine.release.comparison import compare, html
from paragon_engine.release.pictures import PictureSet
from paragon_engine.release.validation import validate
from tests.engine.inference_cases import build
from tests.engine_models import network


def test_export_writes_what_passed(model: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    arguments = ["export", str(model), "-o", str(out), "--pictures", str(folder), "--opset", "16", "--json"]
    assert main([*arguments, "--alpha", "0.3"]) == ExitCode.OK
    captured = capsys.readouterr()
    assert [item["written"] for item in json.loads(captured.out)] == [True, True]
    assert "opset 16 cannot be written, 17 is used" in captured.err
    assert {path.name for path in out.iterdir()} == {"2x_tiny_op17_fp32.onnx", "2x_tiny_op17_fp16.onnx"}
    assert main([*arguments, "--alpha", "0.3"]) == ExitCode.OUTPUT  # they exist
    graph: Any = onnx.load(str(out / "2x_tiny_op17_fp16.onnx"))
    assert graph.opset_import[0].version == 17
    assert not {node.op_type for node in graph.graph.node} & {"GlobalAveragePool", "AveragePool"}


def test_opsets_are_corrected_to_the_nearest() -> None:
    assert [usable_opset(wanted) for wanted in (9, 17, 20, 23)] == [17, 17, 20, 20]


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    """A checkpoint whose kernels were never tracked."""
    net = build("magic-x2").float()
    for block in net.modules():
        if isinstance(block, TrackedTransformer):
            block.tracked_initialized.fill_(False)
            block.tracked_kernel.zero_()
    paragon_arch.save(net, tmp_path / "2x_dynamic.safetensors")
    return tmp_path / "2x_dynamic.safetensors"


def test_calibrating_collects_the_mean(dynamic: Path, folder: Path) -> None:
    model = paragon_arch.load(dynamic)
    assert validate(model).untracked == 2
    calibrated, report = calibrating.calibrate(model, [folder])
    assert (report.coverage, report.crops, report.pictures) == (1.0, 2, 2)
    assert validate(calibrated).untracked == 0
    assert validate(model).untracked == 2  # left as it was
    assert "only 2 crops" in report.doubts[0]
    first = next(m for m in calibrated.model.modules() if isinstance(m, TrackedTransformer))
    kernels: list[torch.Tensor] = []
    assert first.kernel_generator is not None
    first.kernel_generator.register_forward_hook(lambda _m, _i, out: kernels.append(out.mean(0).unsqueeze(1)))
    first.train()
    with torch.no_grad():
        first.momentum = 0
        for path in sorted(folder.iterdir()):
            calibrated.model(calibrating.load(path))
    assert torch.allclose(report_mean(kernels), tracked_mean(dynamic, folder), atol=1e-6)
    paragon_arch.fuse(calibrated.model.eval())


def report_mean(kernels: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(kernels).mean(0)


def tracked_mean(path: Path, folder: Path) -> torch.Tensor:
    model, _ = calibrating.calibrate(paragon_arch.load(path), [folder])
    return next(m for m in model.model.modules() if isinstance(m, TrackedTransformer)).tracked_kernel


def test_calibrating_refuses_what_makes_no_sense(dynamic: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no pictures"):
        calibrating.calibrate(paragon_arch.load(dynamic), [tmp_path / "empty"])
    with pytest.raises(InvalidOptionError, match="nothing to calibrate"):
        calibrating.calibrate(paragon_arch.load(model, alpha=0.3), [tmp_path])


def test_the_calibrate_command(dynamic: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "2x_calibrated.safetensors"
    assert main(["calibrate", str(dynamic), str(folder), "-o", str(out), "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["coverage"] == 1
    assert main(["fuse", str(dynamic), "-o", str(tmp_path / "a.safetensors")]) == ExitCode.FUSION
    assert main(["fuse", str(out), "-o", str(tmp_path / "b.safetensors"), "--json"]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["before"]["state"], report["after"]["state"]) == ("unfused", "fused")
    assert report["after"]["problems"] == []


def test_validation_counts_patterns() -> None:
    found = validate(build("v1-magic-x2").float())
    assert found.state == "unfused"
    assert found.patterns["reparameterised blocks"] > 0
    assert found.output == (64, 64)
    wrong = replace(found, output=(32, 32), finite=False)
    assert len(wrong.problems) == 2


def test_inspect_validates_on_request(model: Path, capsys: Any) -> None:
    assert main(["inspect", str(model), "--validate", "--json", "--alpha", "0.3"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)[0]["validation"]["output"] == [64, 64]


def test_comparing(photos: PictureSet) -> None:
    first, second = network_artefact(network(), name="<first>"), network_artefact(network(seed=1), name="second")
    result = compare(first, second, photos)
    assert len(result.rows) == 2
    assert all(row.max_abs > 0 and row.psnr_first is not None for row in result.rows)
    assert compare(first, first, photos).mean("psnr_between") == 100
    page = html(result)
    assert "&lt;first&gt;" in page
    assert "<first>" not in page
    assert page.count("data:image/png;base64,") == 2 * 5
    assert "http" not in page.replace("http-equiv", "")
    with pytest.raises(InvalidOptionError, match="scale"):
        compare(first, network_artefact(network(scale=3), name="3x"), photos)


def test_the_compare_command(model: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    page = tmp_path / "page.html"
    arguments = ["compare", str(model), str(model), "--pictures", str(folder), "--alpha", "0.3", "-o", str(page)]
    assert main([*arguments, "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["mean"]["max_abs"] == 0
    assert page.read_text().startswith("<!doctype html>")
    assert main(arguments) == ExitCode.OUTPUT


def test_trtexec_commands() -> None:
    commands = trtexec_commands("m.onnx", export_onnx(network(), video=True), Profile(maximum=(2160, 3840)))
    assert "--maxShapes=input:1x3x2160x3840,prev_feat:1x16x2160x3840" in commands["10"]
    assert "--stronglyTyped" in commands["10"]
    assert "--stronglyTyped" not in commands["11"]
    assert "--fp16" not in "".join(commands.values())
    fixed = trtexec_commands("m.onnx", export_onnx(network(), dynamic=False, size=(32, 32)))
    assert "Shapes" not in fixed["11"]
    with pytest.raises(InvalidOptionError, match="grow"):
        Profile(minimum=(100, 100), opt=(64, 64))


KEY = EngineKey("m" * 64, "fp16", Profile(), "GPU A", "8.9", "570.1", "11.4", "Linux")


def test_the_cache_key_holds_everything() -> None:
    changes: list[dict[str, Any]] = [
        {"model_sha256": "n" * 64},
        {"precision": "fp32"},
        {"profile": Profile(batch=2)},
        {"gpu": "GPU B"},
        {"compute_capability": "12.0"},
        {"driver": "580.2"},
        {"tensorrt": "10.16"},
    ]
    assert len({KEY.short, *(replace(KEY, **change).short for change in changes)}) == 1 + len(changes)


def test_engines_made_elsewhere_are_refused(tmp_path: Path) -> None:
    import hashlib
    from dataclasses import asdict

    engine = tmp_path / "m_0.engine"
    with pytest.raises(CheckpointNotFoundError):
        check_engine(engine)
    engine.write_bytes(b"plan")
    facts = asdict(KEY) | {"engine_sha256": hashlib.sha256(b"plan").hexdigest(), "source": "m.onnx"}
    engine.with_suffix(".json").write_text(json.dumps(facts))
    check_engine(engine, KEY)
    with pytest.raises(CorruptCheckpointError, match=r"tensorrt 11.4 there, 10.16 here.*from m.onnx"):
        check_engine(engine, replace(KEY, tensorrt="10.16"))
    engine.write_bytes(b"torn")
    with pytest.raises(CorruptCheckpointError, match="damaged"):
        check_engine(engine, KEY)


def test_the_engine_command_without_tensorrt(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from paragon_engine import engines

    def missing(_name: str) -> bool:
        return False

    monkeypatch.setattr(engines, "installed", missing)
    export_onnx(network(), tmp_path / "m.onnx")
    assert main(["engine", str(tmp_path / "m.onnx")]) == ExitCode.OPTION
    captured = capsys.readouterr()
    assert "pip install tensorrt" in captured.err
    assert captured.out.count("trtexec --onnx=") == 2
    assert main(["engine", str(tmp_path / "m.onnx"), "--commands", "--json"]) == ExitCode.OK
    assert set(json.loads(capsys.readouterr().out)["commands"]) == {"10", "11"}
