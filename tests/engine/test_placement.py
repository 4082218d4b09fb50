"""Every layout, precision and path on devices that are not here: nothing is in the wrong place or of the wrong type.

The device is simulated (tests/simulated_device.py), with float64 as NVIDIA's and without as Apple's. Values are
computed, so the pictures are compared with the CPU's, too.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from paragon_arch import ParagonModelDescriptor
from paragon_arch.loading import Opened
from paragon_arch.networks.base import SRNetwork
from paragon_arch.networks.stages import WITH_DOUBLES
from paragon_engine.backends import Availability, Precision
from paragon_engine.backends.pytorch import CompiledTorchBackend
from paragon_engine.devices import computing, full_precision
from paragon_engine.inference import InferenceForm, inference_form
from paragon_engine.tiling import Tiling, upscale_tensor
from paragon_engine.upscaler import Upscaler
from tests.engine.exact_models import NETWORKS, build, image
from tests.engine_models import descriptor
from tests.simulated_device import DeviceError, simulated

pytestmark = pytest.mark.skipif(
    not hasattr(torch._C, "_ensureCUDADeviceGuardSet"),  # pyright: ignore[reportPrivateUsage]
    reason="this PyTorch cannot simulate a device",
)

LIMITS: dict[Precision, float] = {"fp32": 2e-5, "fp16": 0.03, "bf16": 0.2}
"""Largest difference from FP32 on the CPU; such small random networks are not made for half precision."""
PATHS: list[tuple[str, int, Tiling, bool]] = [
    ("untiled", 0, "exact", False),
    ("untiled, from the device", 0, "exact", True),
    ("exact tiles", 32, "exact", False),
    ("exact tiles, from the device", 32, "exact", True),
    ("overlap", 32, "overlap", False),
]
"""Name, tile, tiling, and whether the image lies on the device."""


def wrapped(network: SRNetwork) -> ParagonModelDescriptor:
    """A descriptor of any network, to be run in any precision; what it says of the file is that of another model."""
    other = descriptor()
    model = ParagonModelDescriptor(Opened(network, other.layout, other.report))
    model.supports_half = model.supports_bfloat16 = True  # pyright: ignore[reportAttributeAccessIssue]
    return model


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("doubles", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_every_path_on_a_simulated_device(doubles: bool, precision: Precision, name: str) -> None:
    """Without float64 is the stricter device; with it, only the sums over maps go another way."""
    traits = build(name).traits
    if not {"fp32": True, "fp16": traits.half, "bf16": traits.bfloat16}[precision]:
        pytest.skip(f"the layout does not hold {precision}")
    x = image(34, 37)
    here = Upscaler(wrapped(build(name)), device="cpu")
    expected = upscale_tensor(here, x, tile=0)
    approximate = upscale_tensor(here, x, tile=32, tiling="overlap")
    with simulated(doubles=doubles) as device:
        model = wrapped(build(name)).to(device.device)
        run = Upscaler(model, device=device.device, precision=precision, halves=("fp16", "bf16"))
        assert model.device == run.device == device.device
        for path, tile, tiling, there in PATHS:
            device.operations.clear()
            found = upscale_tensor(run, x.to(device.device) if there else x, tile=tile, tiling=tiling)
            assert found.device.type == (device.device.type if there else "cpu"), path
            assert device.operations["convolution"], f"{path}: nothing was computed on the device"
            worst = (found.cpu() - (approximate if tiling == "overlap" else expected)).abs().max().item()
            assert worst <= LIMITS[precision], f"{path}: {worst}"


def test_a_network_that_is_on_the_device_is_rebuilt_there() -> None:
    """Apple's GPUs have no float64, in which the weights are multiplied."""
    network = build("v2-release-realtime")
    with simulated(doubles=False) as device:
        form = inference_form(network.to(device.device))
        assert {parameter.device for parameter in form.parameters()} == {device.device}


def test_devices_that_have_float64() -> None:
    assert not {"mps", "xpu", "privateuseone"} & set(WITH_DOUBLES)


def test_directml_runs_outside_of_the_inference_mode() -> None:
    """torch-directml fails in it: "Cannot set version_counter for inference tensor"."""
    for kind, expected in (("privateuseone", False), ("cpu", True), ("cuda", True), ("mps", True)):
        for host in (False, True):
            with torch.inference_mode(mode=host), computing(torch.device(kind)):
                assert torch.is_inference_mode_enabled() is expected
                assert not torch.is_grad_enabled()


@pytest.mark.parametrize("new", [True, False])
def test_fp32_is_fp32_on_nvidia_and_the_hosts_choice_comes_back(new: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both generations of PyTorch's switches for TF32, set to it by the host."""
    matmul = SimpleNamespace(fp32_precision="tf32", allow_tf32=True)
    cudnn = SimpleNamespace(allow_tf32=True)
    if new:
        cudnn.conv = SimpleNamespace(fp32_precision="tf32")
    monkeypatch.setattr(torch.backends.cuda, "matmul", matmul)
    monkeypatch.setattr(torch.backends, "cudnn", cudnn)

    def state() -> list[object]:
        return [matmul.fp32_precision, cudnn.conv.fp32_precision] if new else [matmul.allow_tf32, cudnn.allow_tf32]

    on, off = (["tf32", "tf32"], ["ieee", "ieee"]) if new else ([True, True], [False, False])
    with full_precision(torch.device("cuda")):
        assert state() == off
        with full_precision(torch.device("cpu")):
            assert state() == off
    assert state() == on
    with computing(torch.device("cuda")):
        assert state() == off
    assert state() == on


def test_compiled_convolutions_lie_pixel_by_pixel_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """With open sizes the compiler decides no layouts."""
    compiled: list[InferenceForm] = []

    def compile_(module: InferenceForm, **_: object) -> InferenceForm:
        compiled.append(module)
        return module

    def usable(_: CompiledTorchBackend) -> Availability:
        return Availability(True, "")

    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr(CompiledTorchBackend, "available", usable)
    with simulated() as device:
        network = build("v2-release-stream").to(device.device)
        CompiledTorchBackend().prepare(network, device=device.device, precision="fp16")
        assert compiled[0].memory_format == torch.channels_last
        weights = [layer.weight for layer in compiled[0].modules() if isinstance(layer, torch.nn.Conv2d)]
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize("name", ["v1-pixelshuffle", "v1-ln"])
def test_passes_for_a_cpu_stay_off_elsewhere(name: str) -> None:
    shaped = {"mish_rational", "norm_moments"}
    assert shaped & set(inference_form(build(name)).applied)
    with simulated() as device:
        assert not shaped & set(inference_form(build(name).to(device.device)).applied)


class TestTheSimulation:
    """It refuses what a device refuses; else the tests above would prove nothing."""

    def test_float64(self) -> None:
        with simulated(doubles=False) as device:
            x = torch.rand(3).to(device.device)
            for convert in (lambda: x.double(), lambda: x.to("cpu", torch.float64), lambda: x.sum(dtype=torch.float64)):
                with pytest.raises(DeviceError, match="no float64"):
                    convert()
            with pytest.raises(DeviceError, match="no float64"):
                torch.zeros(3, dtype=torch.float64, device=device.device)
            assert x.cpu().double().dtype == torch.float64
        with simulated() as device:
            assert torch.rand(3).to(device.device).double().dtype == torch.float64

    def test_operands_in_two_places(self) -> None:
        with simulated() as device:
            x = torch.rand(3).to(device.device)
            with pytest.raises(DeviceError, match="on the CPU"):
                _ = x + torch.rand(3)
            assert (x + torch.tensor(1.0)).device.type == "cuda"  # a number is no place

    def test_copies_are_counted(self) -> None:
        with simulated() as device:
            x = torch.rand(3).to(device.device)
            x.copy_(torch.rand(3))
            assert (device.uploads, device.downloads) == (2, 0)
            assert x.cpu().device.type == "cpu"
            _ = float(x[0])
            assert (device.uploads, device.downloads) == (2, 2)

    def test_views_share_their_values(self) -> None:
        with simulated() as device:
            x = torch.zeros(4, device=device.device)
            x[1:3].add_(1)
            assert x.cpu().tolist() == [0, 1, 1, 0]
