"""Chains on a real chaiNNer back end; they need CHAINNER_PATH, a checkout of it (docs/chainner.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import paragon_arch
from paragon_arch.networks.dynamic import TrackedTransformer
from tests.chainner.backend import Backend, Chain, Node, Output, Result
from tests.chainner.real_models import (
    NAMES,
    SHIPPED,
    difference,
    expected,
    levels,
    network,
    picture,
    save_pair,
    scene,
    scenes,
)

pytestmark = [
    pytest.mark.chainner,
    pytest.mark.filterwarnings("ignore::paragon_arch.errors.ParagonWarning"),  # about the odd networks of the tests
]
CUSTOM = -3
"""Of chaiNNer's tile sizes."""
SIZES = ((96, 96), (64, 48), (80, 112))
"""Width and height of pictures for graphs: no exporter sees them, and chaiNNer need not pad them."""
SIZED = ("v2-hybrid-attn-window", "v2-dualpath-rgbgate")
"""Exported for images of one size, the others for any."""
OURS = {"load_model", "fuse_model", "calibrate_model", "upscale_image", "export_onnx", "model_info", "save_model"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and models."""
    folder = tmp_path_factory.mktemp("files")
    picture(45, 37).save(folder / "small.png")
    for width, height in SIZES:
        picture(width, height).save(folder / f"{width}x{height}.png")
    picture(45, 37, transparent=True).save(folder / "transparent.png")
    picture(45, 37).convert("L").save(folder / "gray.png")
    picture(900, 700).save(folder / "large.png")
    scenes(folder / "scenes")
    (folder / "many").mkdir()
    for index in range(3):
        picture(30 + 7 * index, 26, seed=index).save(folder / "many" / f"{index}.png")
    return folder


def save(chain: Chain, image: Output, target: Path, name: str | Output) -> None:
    """Write an image at the end of a chain."""
    chain.add("image:save", Image=image, Directory=target, Image_Name=name, Image_Format="png")


def run(backend: Backend, chain: Chain) -> Result:
    """Run a chain that must end well."""
    result = backend.run(chain)
    assert not result.error, f"{result.error}\n{backend.text()[-3000:]}"
    return result


def test_our_nodes_are_there_and_nothing_failed(backend: Backend) -> None:
    assert {schema.split(":")[-1] for schema in backend.schemata if ":paragonsr:" in schema} == OURS
    category = next(item for item in backend.nodes["categories"] if item["name"] == "PyTorch")
    assert "ParagonSR" in [group["name"] for group in category["groups"]]
    for complaint in ("not fully available", "paragon_chainner", "Error in chainner:", "Traceback"):
        assert complaint not in backend.text()


@pytest.mark.parametrize("name", NAMES)
def test_its_own_nodes_take_every_layout(backend: Backend, folder: Path, tmp_path: Path, name: str) -> None:
    """Load, info, upscale and convert; fused and unfused give the picture of the network itself."""
    chain = backend.chain()
    image = chain.add("image:load", Image_File=folder / "small.png")
    files = save_pair(folder, name)
    for file in files:
        model = chain.add("pytorch:load_model", Model=file)["Model"]
        info = chain.add("pytorch:model_dim", Model=model)
        upscaled = chain.add("pytorch:upscale_image", Image=image["Image"], Model=model, Tile_Size=-1)
        save(chain, upscaled["Image"], tmp_path / file.stem, info["Architecture"])
        exact = chain.add("paragonsr:upscale_image", Image=image["Image"], Model=model)
        save(chain, exact["Image"], tmp_path / file.stem, "exact")
    run(backend, chain)
    reference = expected(files[0], picture(45, 37))
    for file in files:
        made = sorted((tmp_path / file.stem).glob("*.png"))
        assert [path.stem for path in made] == [paragon_arch.load(file).architecture.name, "exact"]
        assert [difference(levels(path), reference) <= 1 for path in made] == [True, True]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("node", ["pytorch:convert_to_onnx", "paragonsr:export_onnx"])
@pytest.mark.parametrize("fused", [False, True])
def test_every_layout_becomes_onnx(
    backend: Backend, folder: Path, tmp_path: Path, node: str, name: str, fused: bool
) -> None:
    """Run by chaiNNer's ONNX nodes, on several sizes that they need not pad."""
    file = save_pair(folder, name)[fused]
    if fused and not network(name).fusible:
        pytest.skip("nothing to fuse")
    chain = backend.chain()
    model = chain.add("pytorch:load_model", Model=file)["Model"]
    options: dict[str, Any] = {"PyTorch_Model": model, "Opset": 17} if "pytorch" in node else {"Model": model}
    sizes = SIZES
    if name in SIZED and "paragonsr" in node:
        options |= {"Fixed_Size": True, "Width": 96, "Height": 96}
        sizes = SIZES[:1]
    graph = chain.add(node, **options)
    for width, height in sizes:
        image = chain.add("image:load", Image_File=folder / f"{width}x{height}.png")
        upscaled = chain.add("onnx:upscale_image", Image=image["Image"], Model=graph["ONNX Model"], Tile_Size=-1)
        save(chain, upscaled["Image"], tmp_path, f"{width}x{height}")
    run(backend, chain)
    for width, height in sizes:
        made = levels(tmp_path / f"{width}x{height}.png")
        assert difference(made, expected(file, picture(width, height))) <= 1, f"{width}x{height}"


@pytest.mark.parametrize(("precision", "most"), [("fp16", 0.1), ("int8", 2.0)])
def test_graphs_of_low_precision(backend: Backend, folder: Path, tmp_path: Path, precision: str, most: float) -> None:
    """Saved by chaiNNer and loaded again; `most` is the largest mean difference from FP32 in levels."""
    chain = backend.chain()
    model = chain.add("pytorch:load_model", Model=SHIPPED)["Model"]
    options = {"Calibration_Images": folder / "scenes"} if precision == "int8" else {}
    graph = chain.add("paragonsr:export_onnx", Model=model, Precision=precision, **options)
    chain.add("onnx:save_model", Model=graph["ONNX Model"], Directory=tmp_path, Model_Name="graph")
    result = run(backend, chain)
    assert precision.upper() in result.type_of(graph, 1)
    chain = backend.chain()
    loaded = chain.add("onnx:load_model", ONNX_Model_File=tmp_path / "graph.onnx")
    image = chain.add("image:load", Image_File=folder / "scenes" / "3.png")
    upscaled = chain.add("onnx:upscale_image", Image=image["Image"], Model=loaded["Model"], Tile_Size=-1)
    save(chain, upscaled["Image"], tmp_path, "out")
    run(backend, chain)
    differences = np.abs(levels(tmp_path / "out.png") - expected(SHIPPED, scene(3)))
    assert 0 < differences.mean() <= most


def test_loading_with_overrides_fusing_and_info(backend: Backend, folder: Path, tmp_path: Path) -> None:
    file = save_pair(folder, "v1-pixelshuffle")[0]
    chain = backend.chain()
    load = chain.add("paragonsr:load_model", Model=file, Set_Scale=True, Scale=2)
    fuse = chain.add("paragonsr:fuse_model", Model=load["Model"])
    infos = [chain.add("paragonsr:model_info", Model=node["Model"]) for node in (load, fuse)]
    image = chain.add("image:load", Image_File=folder / "small.png")
    for info, node in zip(infos, (load, fuse), strict=True):
        upscaled = chain.add(
            "paragonsr:upscale_image",
            Image=image["Image"],
            Model=node["Model"],
            Tile_Size=CUSTOM,
            Custom_Tile_Size=32,
        )
        save(chain, upscaled["Image"], tmp_path / str(node.schema["name"]), info["Layout"])
    result = run(backend, chain)
    assert ["not fused" in result.type_of(info) for info in infos] == [True, False]
    reference = expected(file, picture(45, 37))
    for title in ("Load ParagonSR Model", "Fuse ParagonSR Model"):
        assert difference(levels(tmp_path / title / "v1-pixelshuffle.png"), reference) <= 1
    assert result.type_of(load)["scale"] == 2


def test_a_value_that_the_file_contradicts_is_refused(backend: Backend, folder: Path) -> None:
    chain = backend.chain()
    chain.add("paragonsr:load_model", Model=save_pair(folder, "v1-pixelshuffle")[0], Set_Scale=True, Scale=3)
    assert "scale" in backend.run(chain).error


def test_calibrating_on_a_folder(backend: Backend, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "untracked.safetensors"
    untracked = network("v2-dynamic")
    for block in untracked.modules():
        if isinstance(block, TrackedTransformer):
            block.tracked_kernel.zero_()
            block.tracked_initialized.fill_(False)
    paragon_arch.save(untracked, file)
    chain = backend.chain()
    load = chain.add("paragonsr:load_model", Model=file)
    images = chain.add("image:load_images", Directory=folder / "many")
    calibrate = chain.add("paragonsr:calibrate_model", Model=load["Model"], Image_Sequence=images["Image"])
    fuse = chain.add("paragonsr:fuse_model", Model=calibrate["Model"])
    image = chain.add("image:load", Image_File=folder / "small.png")
    for title, node in (("before", load), ("calibrated", calibrate), ("fused", fuse)):
        upscaled = chain.add("paragonsr:upscale_image", Image=image["Image"], Model=node["Model"])
        save(chain, upscaled["Image"], tmp_path, title)
    result = run(backend, chain)
    assert result.type_of(calibrate, 1) == 3
    before, calibrated, fused = (levels(tmp_path / f"{title}.png") for title in ("before", "calibrated", "fused"))
    assert difference(calibrated, fused) <= 1
    assert difference(before, calibrated) > 1
    assert difference(before, expected(file, picture(45, 37))) <= 1, "calibrating changed the model that came in"


@pytest.mark.parametrize("schema", ["pytorch:upscale_image", "paragonsr:upscale_image"])
@pytest.mark.parametrize("file", ["transparent.png", "gray.png"])
def test_transparent_and_gray_images(backend: Backend, folder: Path, tmp_path: Path, schema: str, file: str) -> None:
    chain = backend.chain()
    model = chain.add("pytorch:load_model", Model=save_pair(folder, "v2-release-realtime")[1])
    image = chain.add("image:load", Image_File=folder / file)
    upscaled = chain.add(schema, Image=image["Image"], Model=model["Model"])
    save(chain, upscaled["Image"], tmp_path, "out")
    run(backend, chain)
    made = levels(tmp_path / "out.png")
    assert made.shape[:2] == (74, 90)
    if file == "transparent.png" and "paragonsr" in schema:
        assert made[37, 45, 3] == 255
        assert made[0, 0, 3] == 0


def test_a_folder_of_models(backend: Backend, folder: Path, tmp_path: Path) -> None:
    """Every layout by the iterator over model files; fused and unfused give the same picture."""
    files = [file for name in NAMES for file in save_pair(folder, name)]
    chain = backend.chain()
    models = chain.add("pytorch:load_models", Directory=folder)
    image = chain.add("image:load", Image_File=folder / "small.png")
    upscaled = chain.add("pytorch:upscale_image", Image=image["Image"], Model=models["Model"], Tile_Size=-1)
    save(chain, upscaled["Image"], tmp_path, models["Name"])
    run(backend, chain)
    made = {path.stem: levels(path) for path in tmp_path.glob("*.png")}
    assert set(made) == {file.stem for file in files}
    assert [name for name in NAMES if difference(made[name], made[f"{name}_fused"]) > 1] == []


@pytest.mark.parametrize("form", ["params", "params_ema", "module.", "_orig_mod.", "netG."])
def test_checkpoints_as_training_leaves_them(backend: Backend, folder: Path, tmp_path: Path, form: str) -> None:
    file, state = tmp_path / "2x_model.pth", network("v2-release-realtime").state_dict()
    prefix, key = (form, None) if form.endswith(".") else ("", form)
    tensors = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    torch.save(tensors if key is None else {key: tensors}, file)
    chain = backend.chain()
    image = chain.add("image:load", Image_File=folder / "small.png")
    for schema in ("pytorch:load_model", "paragonsr:load_model"):
        model = chain.add(schema, Model=file)
        upscaled = chain.add("pytorch:upscale_image", Image=image["Image"], Model=model["Model"], Tile_Size=-1)
        save(chain, upscaled["Image"], tmp_path, schema.partition(":")[0])
    run(backend, chain)
    reference = expected(file, picture(45, 37))
    assert [difference(levels(path), reference) <= 1 for path in tmp_path.glob("*.png")] == [True, True]


SAVING: dict[str, dict[str, Any]] = {
    "pytorch:save_model": {"Weight_Format": "safetensors"},
    "paragonsr:save_model": {},
}


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("v2-magic", "paragonsr:save_model"),  # its alpha is not the layout's usual one, which chaiNNer's node loses
        ("v2-release-realtime", "paragonsr:save_model"),
        ("v2-hybrid-attn-window", "paragonsr:save_model"),
        ("v2-hybrid-attn-window", "pytorch:save_model"),
        ("v2-release-stream", "pytorch:save_model"),
    ],
)
def test_a_fused_model_is_saved_and_loaded(
    backend: Backend, folder: Path, tmp_path: Path, name: str, schema: str
) -> None:
    file = save_pair(folder, name)[0]
    chain = backend.chain()
    load = chain.add("pytorch:load_model", Model=file)
    fuse = chain.add("paragonsr:fuse_model", Model=load["Model"])
    chain.add(schema, Model=fuse["Model"], Directory=tmp_path, Model_Name="saved", **SAVING[schema])
    run(backend, chain)
    chain = backend.chain()
    load = chain.add("pytorch:load_model", Model=tmp_path / "saved.safetensors")
    image = chain.add("image:load", Image_File=folder / "small.png")
    upscaled = chain.add("paragonsr:upscale_image", Image=image["Image"], Model=load["Model"])
    save(chain, upscaled["Image"], tmp_path, "out")
    run(backend, chain)
    assert difference(levels(tmp_path / "out.png"), expected(file, picture(45, 37))) <= 1


@pytest.mark.parametrize("schema", ["pytorch:upscale_image", "paragonsr:upscale_image"])
def test_a_folder(backend: Backend, folder: Path, tmp_path: Path, schema: str) -> None:
    chain = backend.chain()
    file = save_pair(folder, "v2-release-stream")[1]
    model = chain.add("pytorch:load_model", Model=file)
    images = chain.add("image:load_images", Directory=folder / "many")
    upscaled = chain.add(schema, Image=images["Image"], Model=model["Model"])
    save(chain, upscaled["Image"], tmp_path, images["Name"])
    run(backend, chain)
    made = {path.stem: levels(path) for path in tmp_path.glob("*.png")}
    assert set(made) == {"0", "1", "2"}
    for index in range(3):
        assert difference(made[str(index)], expected(file, picture(30 + 7 * index, 26, seed=index))) <= 1


def large(backend: Backend, folder: Path, tmp_path: Path, **values: object) -> tuple[Chain, Node]:
    """A chain that takes some seconds."""
    chain = backend.chain()
    model = chain.add("pytorch:load_model", Model=save_pair(folder, "v2-hybrid-gn")[1])
    image = chain.add("image:load", Image_File=folder / "large.png")
    node = chain.add("paragonsr:upscale_image", Image=image["Image"], Model=model["Model"], **values)
    save(chain, node["Image"], tmp_path, "out")
    return chain, node


def test_small_tiles_give_the_picture_of_the_whole_image(backend: Backend, folder: Path, tmp_path: Path) -> None:
    """On a layout that normalises over the whole image, with progress; so does a limit on the memory."""
    run(backend, large(backend, folder, tmp_path / "whole", Tile_Size=-1)[0])
    chain, node = large(backend, folder, tmp_path / "tiles", Tile_Size=CUSTOM, Custom_Tile_Size=96)
    result = run(backend, chain)
    assert len(result.progress(node)) > 10
    whole, tiles = (levels(tmp_path / title / "out.png") for title in ("whole", "tiles"))
    assert difference(whole, tiles) <= 1


def test_stopping_takes_effect_at_once(backend: Backend, folder: Path, tmp_path: Path) -> None:
    chain, node = large(backend, folder, tmp_path, Tile_Size=CUSTOM, Custom_Tile_Size=64)
    result = backend.run(chain, stop_at=node)
    assert not (tmp_path / "out.png").exists()
    assert max(result.progress(node)) < 0.9
    assert result.seconds_to_stop < 10  # of a run of minutes, on a machine that may be busy
    run(backend, large(backend, folder, tmp_path, Tile_Size=256)[0])
    assert (tmp_path / "out.png").exists(), "the next run is not affected"
