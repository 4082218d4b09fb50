"""Checkpoints: round trips, wrappers, hints, determinism, and files that appear whole or not at all."""

from __future__ import annotations

import argparse
import datetime as dt
import enum
import sys
import types
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as library_load
from safetensors.torch import save as library_save
from torch import Tensor, nn

import paragon_arch
from paragon_arch.errors import (
    CorruptCheckpointError,
    InvalidOptionError,
    InvalidWeightsError,
    OutputError,
    OutputExistsError,
    StateMismatchError,
    UnsupportedFormatError,
)
from paragon_arch.files.checkpoint import read_checkpoint, unwrap, write_checkpoint
from paragon_arch.layouts import LAYOUTS

HINTS = {"scale": 2, "alpha": 0.3, "window_size": 16, "use_norm": False, "attention": "global"}
DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


def make_state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    state = {
        f"body.{index}.{str(dtype)[6:]}": (torch.rand(2, 3, 3, generator=generator) * 9).to(dtype)
        for index, dtype in enumerate(DTYPES)
    }
    return {**state, "flag": torch.tensor(True), "scalar": torch.tensor(0.5)}


def assert_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for key, tensor in first.items():
        assert second[key].dtype == tensor.dtype
        assert second[key].shape == tensor.shape
        assert torch.equal(second[key], tensor), key


def saved(value: Any, path: Path, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


# --- round trips


def test_written_file_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, make_state(), hints=HINTS, metadata={"author": "me"})
    checkpoint = read_checkpoint(path)
    assert_equal(make_state(), checkpoint.state)
    assert checkpoint.hints == HINTS
    assert {name: type(value) for name, value in checkpoint.hints.items()} == {n: type(v) for n, v in HINTS.items()}
    assert set(checkpoint.hint_sources.values()) == {"metadata"}
    assert checkpoint.metadata["format"] == "pt"
    assert checkpoint.metadata["author"] == "me"
    assert checkpoint.metadata["paragonsr.use_norm"] == "false"
    assert (checkpoint.path, checkpoint.format, checkpoint.wrapper) == (path, "safetensors", "")


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, make_state(), hints=HINTS, hint_tensors=False)
    assert_equal(make_state(), library_load(path.read_bytes()))


def test_we_read_what_the_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(library_save(make_state(), {"a": "b"}))
    assert_equal(make_state(), read_checkpoint(path).state)
    assert read_checkpoint(path).metadata == {"a": "b"}


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    write_checkpoint(first, make_state(), hints=HINTS, metadata={"a": "1", "b": "2"})
    backwards = dict(reversed(make_state().items()))
    write_checkpoint(second, backwards, hints=dict(reversed(HINTS.items())), metadata={"b": "2", "a": "1"})
    assert first.read_bytes() == second.read_bytes()


def test_shared_and_strided_tensors_are_written_apart(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = {"whole": base, "part": base[1:, ::2], "turned": base.T, "same": base, "wide": torch.ones(1).expand(5)}
    write_checkpoint(tmp_path / "m.safetensors", state, hints={})
    assert_equal(state, read_checkpoint(tmp_path / "m.safetensors").state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("modern", [True, False])
def test_torch_files(modern: bool, protocol: int, tmp_path: Path) -> None:
    """A training state with everything that trainers put next to the weights."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.rand(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    training: dict[str, Any] = {
        "params": OrderedDict(net.named_parameters()),
        "params_ema": {**net.state_dict(), **make_state(), "view": torch.arange(12.0).reshape(3, 4)[1:, ::2]},
        "optimizer": optimizer.state_dict(),
        "best": np.float64(31.5),
        "history": np.zeros(3),
        "options": argparse.Namespace(scale=2),
        "random": torch.get_rng_state(),
        "seen": {1, 2},
        "device": torch.device("cpu"),
    }
    options = {"_use_new_zipfile_serialization": modern, "pickle_protocol": protocol}
    checkpoint = read_checkpoint(saved(training, tmp_path / "net.pth", **options))
    assert_equal(training["params_ema"], checkpoint.state)
    assert (checkpoint.wrapper, checkpoint.format, checkpoint.metadata) == ("params_ema", "pth", {})
    del training["params_ema"]
    checkpoint = read_checkpoint(saved(training, tmp_path / "net.ckpt", **options))
    assert_equal(dict(net.named_parameters()), checkpoint.state)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = saved(make_state(), tmp_path / "model.safetensors")
    assert read_checkpoint(path).format == "pth"
    path = tmp_path / "model.pth"
    path.write_bytes(library_save(make_state()))
    assert read_checkpoint(str(path)).format == "safetensors"


# --- wrappers and prefixes

WEIGHT = torch.ones(2)
BARE = {"conv.weight": WEIGHT, "conv.bias": WEIGHT + 1}


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in BARE.items()}


WRAPPED: list[tuple[dict[str, Any], str]] = [
    (BARE, ""),
    *(({name: BARE, "epoch": 3}, name) for name in ("params_ema", "params-ema", "params", "state_dict")),
    *(({name: BARE, "epoch": 3}, name) for name in ("model_state_dict", "model", "net", "net_g", "generator")),
    ({"params": {"conv.weight": WEIGHT * 5}, "params_ema": BARE}, "params_ema"),
    ({"params": BARE, "params_ema": {}}, "params"),
    ({"params": BARE, "params_ema": None}, "params"),
    ({"net_g": {"conv.weight": WEIGHT * 5}, "net_g_ema": BARE, "net_d": prefixed("d.")}, "net_g_ema"),
    ({"model": {"state_dict": BARE}, "epoch": 1}, "model.state_dict"),
    ({"model": {"name": "nano"}, "net": BARE}, "net"),
    ({"state_dict": prefixed("net_g."), "pytorch-lightning_version": "2"}, "state_dict.net_g"),
    *((prefixed(name + "."), name) for name in ("module", "net_g", "netG", "model", "generator")),
    (prefixed("module.model."), "module.model"),
    (prefixed("_orig_mod."), ""),
    (prefixed("module._orig_mod."), "module"),
    (prefixed("_orig_mod.module."), "module"),
    ({"conv._orig_mod.weight": WEIGHT, "conv._orig_mod.bias": WEIGHT + 1}, ""),
    ({"n_averaged": torch.tensor(7), **prefixed("module.")}, "module"),
    ({"conv.weight": nn.Parameter(WEIGHT), "conv.bias": WEIGHT + 1}, ""),
]


@pytest.mark.parametrize(("mapping", "wrapper"), WRAPPED)
def test_unwrapping(mapping: dict[str, Any], wrapper: str, tmp_path: Path) -> None:
    state, found = unwrap(mapping)
    assert_equal(BARE, state)
    assert found == wrapper
    for source in (mapping, saved(mapping, tmp_path / "m.pth")):
        checkpoint = read_checkpoint(source)
        assert_equal(BARE, checkpoint.state)
        assert checkpoint.wrapper == wrapper
        assert not any(tensor.requires_grad for tensor in checkpoint.state.values())


def test_a_prefix_that_not_all_keys_have_stays() -> None:
    mixed = {"model.weight": WEIGHT, "head.weight": WEIGHT}
    assert unwrap(mixed) == (mixed, "")


def test_prefix_beside_hint_tensors() -> None:
    checkpoint = read_checkpoint({**prefixed("module."), "paragonsr_hint.scale": torch.tensor(4)})
    assert_equal(BARE, checkpoint.state)
    assert checkpoint.hints == {"scale": 4}


ODD: list[dict[Any, Any]] = [
    {},
    {"epoch": 3},
    {1: WEIGHT},
    {"weight": WEIGHT, "name": "text"},
    {"a.b": WEIGHT, "a._orig_mod.b": WEIGHT},
    {"params": {"weight": WEIGHT, "list": [WEIGHT]}},
]


@pytest.mark.parametrize("mapping", ODD)
def test_odd_mappings(mapping: dict[Any, Any]) -> None:
    with pytest.raises(CorruptCheckpointError):
        read_checkpoint(mapping)
    assert unwrap(mapping, tolerant=True) == ({}, "")


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (torch.eye(2).to_sparse(), UnsupportedFormatError),
        (torch.empty(2, device="meta"), UnsupportedFormatError),
        (torch.ones(2, dtype=torch.complex64), UnsupportedFormatError),
        (torch.empty(0), CorruptCheckpointError),
        (torch.ones(1).expand(2**41), CorruptCheckpointError),
        (torch.tensor([1.0, float("nan")]), InvalidWeightsError),
    ],
)
def test_odd_tensors_in_a_mapping(tensor: Tensor, error: type[Exception]) -> None:
    with pytest.raises(error, match="odd"):
        read_checkpoint({**BARE, "odd": tensor})


def test_finite_check_can_be_left_out() -> None:
    state = read_checkpoint({"w": torch.tensor([float("nan")])}, check_finite=False).state
    assert state["w"].isnan().all()


# --- checkpoints of other trainers


def stand_in(module: str, name: str, base: type = object) -> type:
    """A class as if a package had it that is not installed."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:count]), types.ModuleType(".".join(parts[:count])))
    made = type(name, (base,), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


def test_what_stands_beside_the_weights_is_passed_over_unbuilt(tmp_path: Path) -> None:
    callback = stand_in("pytorch_lightning.callbacks.some", "ModelCheckpoint")
    attributes = stand_in("lightning_fabric.utilities.some", "AttributeDict", dict)
    config = stand_in("my_trainer.config", "Config")
    colour = enum.Enum("Colour", "RED", module="my_trainer.config")
    sys.modules["my_trainer.config"].__dict__["Colour"] = colour
    settings = config()
    settings.__dict__ |= {"path": Path("x"), "when": dt.datetime(2026, 1, 1), "rate": Fraction(1, 3)}
    training: dict[Any, Any] = {
        "state_dict": prefixed("net_g."),
        "callbacks": {callback: {"monitor": "psnr"}},
        "hyper_parameters": attributes(scale=2, config=settings, loss=nn.L1Loss()),
        "states": {"numpy": np.random.RandomState(0), "deque": deque([1], maxlen=3), "kind": list(colour)},
        "best": PurePosixPath("best.ckpt"),
    }
    try:
        path = saved(training, tmp_path / "last.ckpt")
    finally:
        for name in [
            name for name in sys.modules if name.startswith(("pytorch_lightning", "lightning_f", "my_trainer"))
        ]:
            del sys.modules[name]
    checkpoint = read_checkpoint(path)
    assert_equal(BARE, checkpoint.state)
    assert checkpoint.wrapper == "state_dict.net_g"


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_paths_of_any_python(module: str, tmp_path: Path) -> None:
    path = saved({"params": BARE, "where": PurePosixPath("a/b")}, tmp_path / "m.pth")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data.replace(b"cpathlib\n", f"c{module}\n".encode()))
    assert_equal(BARE, read_checkpoint(path).state)


MIXED: list[tuple[dict[str, Tensor], str]] = [
    ({**prefixed("net_g."), "net_d.conv.weight": WEIGHT, "cri_perceptual.vgg.0.weight": WEIGHT}, "net_g"),
    ({**{k: v * 5 for k, v in prefixed("net_g.").items()}, **prefixed("net_g_ema.")}, "net_g_ema"),
    (
        {**{k: v * 5 for k, v in prefixed("online_model.").items()}, **prefixed("ema_model."), "step": WEIGHT},
        "ema_model",
    ),
    ({**prefixed("generator."), "discriminator.weight": WEIGHT}, "generator"),
]


@pytest.mark.parametrize(("mapping", "wrapper"), MIXED)
def test_the_generator_among_other_networks(mapping: dict[str, Tensor], wrapper: str, tmp_path: Path) -> None:
    for source in (mapping, saved({"state_dict": mapping}, tmp_path / "m.ckpt")):
        checkpoint = read_checkpoint(source)
        assert_equal(BARE, checkpoint.state)
        assert checkpoint.wrapper.endswith(wrapper)


@pytest.mark.parametrize("name", ["netG_ema", "g_ema", "generator_ema", "model_ema", "ema_model", "ema_state_dict",
                                  "state_dict_ema", "averaged_model", "ema"])  # fmt: skip
def test_averaged_weights_under_their_common_names(name: str) -> None:
    checkpoint = read_checkpoint({"params": {"conv.weight": WEIGHT * 5}, name: BARE})
    assert_equal(BARE, checkpoint.state)
    assert checkpoint.wrapper == name


def test_archives_that_were_packed_again(tmp_path: Path) -> None:
    path = saved({"params": BARE}, tmp_path / "m.pth")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert_equal(BARE, read_checkpoint(path).state)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("read me.txt", "x")
        archive.writestr("folder/2xModel.safetensors", "x" * 100)
    with pytest.raises(UnsupportedFormatError, match=r"with folder/2xModel\.safetensors in it: unpack it"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "kind", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.int64, torch.float32]
)
def test_flags_of_any_type(kind: torch.dtype) -> None:
    net = paragon_arch.load(read_nano(), scale=2)
    state = net.model.state_dict()
    flags = [key for key, value in state.items() if value.dtype == torch.bool]
    assert flags
    changed = {key: value.to(kind) if key in flags else value for key, value in state.items()}
    assert_equal(state, paragon_arch.load(changed, scale=2).model.state_dict())
    with pytest.raises(StateMismatchError, match="wrong type"):
        paragon_arch.load(
            {**changed, flags[0]: torch.tensor(2 if not kind.is_floating_point else 0.5).to(kind)}, scale=2
        )


def read_nano() -> dict[str, Tensor]:
    """A network with flags."""
    layout = next(layout for layout in LAYOUTS if layout.id == "v2-magic")
    shape = dict(layout.variants[0].shape)
    options: dict[str, Any] = {"scale": 2, **{item.name: layout.default(item, shape) for item in layout.unknowns
                                              if item.applies(shape)}, **shape}  # fmt: skip
    torch.manual_seed(0)
    return layout.network(**{**options, "scale": 2}).state_dict()


# --- hints


def test_metadata_wins_over_hint_tensors(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    tensors = {**BARE, "paragonsr_hint.scale": torch.tensor(3), "paragonsr_hint.alpha": torch.tensor(0.7)}
    path.write_bytes(library_save(tensors, {"paragonsr.scale": "2"}))
    checkpoint = read_checkpoint(path)
    assert checkpoint.hints == {"scale": 2, "alpha": 0.7}
    assert checkpoint.hint_sources == {"scale": "metadata", "alpha": "hint tensor"}
    assert_equal(BARE, checkpoint.state)


@pytest.mark.parametrize("convert", [Tensor.clone, Tensor.half, Tensor.bfloat16, Tensor.double])
def test_hint_tensors_survive_a_loader_that_drops_metadata(convert: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_checkpoint(path, BARE, hints=HINTS)
    tensors = library_load(path.read_bytes())
    kept = {key: convert(tensor) if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    checkpoint = read_checkpoint(kept)
    assert checkpoint.hints == HINTS
    assert set(checkpoint.hint_sources.values()) == {"hint tensor"}
    assert checkpoint.state.keys() == BARE.keys()


@pytest.mark.parametrize("hints", [{"scale": 2.5}, {"scale": 0}, {"scale": True}, {"depth": 1}, {"use_norm": 1},
                                   {"alpha": float("nan")}, {"attention": ""}, {"attention": "glöbal"}])  # fmt: skip
def test_bad_hints_are_not_written(hints: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError):
        write_checkpoint(tmp_path / "m.safetensors", BARE, hints=hints)
    assert not list(tmp_path.iterdir())


def test_unknown_hint_values_are_left_out(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m.safetensors", BARE, hints={"scale": 2, "alpha": None})
    assert read_checkpoint(tmp_path / "m.safetensors").hints == {"scale": 2}


# --- writing


@pytest.mark.parametrize("state", [{}, {"w": torch.empty(0)}, {"w": torch.eye(2).to_sparse()}, {"w": 3},
                                   {"paragonsr_hint.scale": WEIGHT}, {"w": WEIGHT.to(torch.complex64)}])  # fmt: skip
def test_bad_states_are_not_written(state: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError):
        write_checkpoint(tmp_path / "m.safetensors", state, hints={})


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="safetensors"):
        write_checkpoint(tmp_path / "m.pth", BARE, hints={})
    with pytest.raises(InvalidWeightsError, match="'w'"):
        write_checkpoint(tmp_path / "m.safetensors", {"w": torch.tensor([float("inf")])}, hints={})
    with pytest.raises(InvalidOptionError, match="hint"):
        write_checkpoint(tmp_path / "m.safetensors", BARE, hints={"scale": 2}, metadata={"paragonsr.scale": "3"})
    with pytest.raises(OutputError, match="create it first"):
        write_checkpoint(tmp_path / "none" / "m.safetensors", BARE, hints={})
    assert not list(tmp_path.iterdir())


def test_overwriting_must_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_checkpoint(path, BARE, hints={})
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match=r"m\.safetensors"):
        write_checkpoint(path, {"w": WEIGHT}, hints={})
    assert path.read_bytes() == before
    write_checkpoint(path, {"w": WEIGHT}, hints={}, overwrite=True)
    assert_equal({"w": WEIGHT}, read_checkpoint(path).state)
    assert list(tmp_path.iterdir()) == [path]
