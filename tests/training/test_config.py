"""Recipes: what is read, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paragon_arch.errors import InvalidOptionError
from paragon_arch.networks.base import structure_only
from training.config import ModelConfig, Recipe
from training.network import find_layout, hyperparameters
from training.recipe_file import parse_recipe, read_recipe

MINIMAL: dict[str, dict[str, Any]] = {"data": {"synthetic": 1}, "optim": {"steps": 10}, "run": {"out": "x"}}


def test_minimal_recipe_gets_defaults() -> None:
    recipe = parse_recipe(MINIMAL)
    assert (recipe.model.variant, recipe.model.scale, recipe.data.patch) == ("realtime", 2, 96)


def test_all_shipped_recipes_are_valid(root: Path) -> None:
    recipes = sorted((root / "training" / "recipes").rglob("*.toml"))
    assert {path.stem for path in recipes} >= {"2x-realtime-fidelity", "smoke"}
    assert all(isinstance(read_recipe(path), Recipe) for path in recipes)


@pytest.mark.parametrize(
    ("section", "key", "value", "named"),
    [
        ("data", "patch", 97, "data.patch = 97"),
        ("data", "shrink", [0.0, 1.0], "data.shrink"),
        ("data", "batch", 0, "data.batch"),
        ("data", "pacth", 96, "unknown key data.pacth"),
        ("data", "synthetic", 0, "data.folder"),
        ("optim", "ema", 1.0, "optim.ema"),
        ("optim", "steps", "many", "optim.steps"),
        ("optim", "schedule", "stepped", "optim.schedule: 'stepped' is unknown"),
        ("degrade", "jpeg_twice", -0.5, "degrade.jpeg_twice"),
        ("data", "mix", {"text": 0}, "data.mix"),
        ("data", "mix", {"text": "much"}, "data.mix"),
        ("optim", "amp", 1, "optim.amp = 1 must be of type bool"),
        ("model", "scale", 0, "model.scale"),
        ("model", "init", "lucky", "model.init"),
        ("losses", "l3", 1.0, "losses: 'l3' is unknown"),
        ("losses", "l1", 0, "losses.l1 = 0 must be positive"),
        ("losses", "l1", "much", "losses.l1 = 'much' must be a number"),
        ("gan", "critic", "patchgan", "gan.critic"),
        ("degrade", "jpeg", 1.5, "degrade.jpeg"),
        ("degrade", "noise_sigma", [9.0, 1.0], "degrade.noise_sigma"),
        ("degrade", "kernels", ["nearest"], "degrade.kernels"),
        ("data", "low_folder", "low", "data.low_folder"),
    ],
)
def test_bad_value_is_refused_by_name(section: str, key: str, value: object, named: str) -> None:
    tables = {name: dict(table) for name, table in MINIMAL.items()}
    tables.setdefault(section, {})[key] = value
    with pytest.raises(InvalidOptionError, match=named):
        parse_recipe(tables)


def test_unknown_section_and_missing_key_are_named() -> None:
    with pytest.raises(InvalidOptionError, match=r"unknown section \[optimizer\]"):
        parse_recipe({**MINIMAL, "optimizer": {}})
    with pytest.raises(InvalidOptionError, match=r"optim\.steps is missing"):
        parse_recipe({**MINIMAL, "optim": {}})


def test_a_recipe_extends_another(tmp_path: Path) -> None:
    base = '[data]\nsynthetic = 1\nbatch = 3\n[losses]\nl1 = 1.0\n[optim]\nsteps = 5\n[run]\nout = "x"\n'
    (tmp_path / "base.toml").write_text(base, encoding="utf-8")
    own = 'extends = "base.toml"\n[data]\nbatch = 7\n[losses]\nmse = 2.0\n[gan]\nweight = 0.1\n'
    (tmp_path / "own.toml").write_text(own, encoding="utf-8")
    recipe = read_recipe(tmp_path / "own.toml")
    assert (recipe.data.batch, recipe.data.synthetic, recipe.losses) == (7, 1, {"mse": 2.0})
    assert (recipe.gan.weight, recipe.optim.steps) == (0.1, 5)
    (tmp_path / "base.toml").write_text('extends = "own.toml"', encoding="utf-8")
    with pytest.raises(InvalidOptionError, match="extends itself"):
        read_recipe(tmp_path / "own.toml")


def test_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[data\n", encoding="utf-8")
    for name in ("broken.toml", "missing.toml"):
        with pytest.raises(InvalidOptionError, match=name):
            read_recipe(tmp_path / name)


SEEDS = {
    "v1-pixelshuffle": ("tiny", "xs", "s", "m", "l", "xl"),
    "v2-magic": ("nano", "anime", "tiny", "s", "m", "l", "xl"),
    "v2-magic-hr": ("nano", "anime", "tiny", "s", "m", "l", "xl"),
    "v2-dualpath-rgbgate": ("realtime", "stream", "photo", "pro"),
    "v2-release": ("realtime", "stream", "photo", "pro"),
}
"""Every variant that the family's documents describe, by the layout of their time."""


@pytest.mark.parametrize("layout", SEEDS)
def test_every_variant_has_both_recipes_and_they_build(root: Path, layout: str) -> None:
    folder = root / "training" / "recipes" / layout
    names = {f"{variant}-{stage}" for variant in SEEDS[layout] for stage in ("fidelity", "perceptual")}
    assert {path.stem for path in folder.glob("*.toml")} == names
    for name in names:
        recipe = read_recipe(folder / f"{name}.toml")
        variant, stage = name.split("-")
        assert (recipe.model.layout, recipe.model.variant) == (layout, variant)
        with structure_only():
            network = find_layout(layout).network(**hyperparameters(recipe.model))
        assert network.traits.bfloat16 or not recipe.optim.amp
        assert (recipe.gan.weight > 0, recipe.model.start is not None) == ((stage == "perceptual",) * 2)
        if stage == "perceptual":
            fidelity = read_recipe(folder / f"{variant}-fidelity.toml")
            assert recipe.model.start == f"{fidelity.run.out}/model.safetensors"


def test_unknown_layouts_and_variants_are_named() -> None:
    with pytest.raises(InvalidOptionError, match="v3"):
        hyperparameters(ModelConfig("v3"))
    with pytest.raises(InvalidOptionError, match="known: photo, pro, realtime, stream"):
        hyperparameters(ModelConfig(variant="huge"))
