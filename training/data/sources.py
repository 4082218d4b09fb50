"""The photographs that packages carry, and their licences: the one table that the fetch script and the docs use.

Licences are those of the packages' copyright files, of the pictures' own metadata files where they have one, or of
the docstrings of the functions that load them (scikit-image). Nothing of this is committed to the repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Package:
    """A package with photographs."""

    name: str
    kind: Literal["debian", "wheel"]
    folder: str
    """Where the pictures lie inside the unpacked package."""
    photographs: dict[str, tuple[str, ...]]
    """Pictures for training, by licence; paths relative to the folder."""


def _plasma(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}/contents/images/2560x1600.jpg" for name in names)


PACKAGES = (
    Package(
        "lomiri-wallpapers-16.04",
        "debian",
        "usr/share/backgrounds",
        {
            "CC0-1.0": ("seeding_by_Clements_Engelhardt.jpg",),
            "CC-BY-4.0": (
                "aitzgorri_by_Aitzol_Berasategi.jpg",
                "friends_by_Aitzol_Berasategi.jpg",
                "life_by_Aitzol_Berasategi.jpg",
                "picosdeeuropa_by_Aitzol_Berasategi.jpg",
                "sunset_by_Aitzol_Berasategi.jpg",
                "Picture_0B_by_freespace.jpg",
                "Picture_1A_by_freespace.jpg",
                "Wine_by_Jakkub_Mede.jpg",
            ),
            "CC-BY-SA-4.0": (
                "Bridge_by_Sander_Klootwijk.jpg",
                "Dragonfly_by_Bolly.jpg",
                "analogpattern_by_Peter_Nerlich.jpg",
                "free_by_Peter_Nerlich.jpg",
                "greentock_by_Peter_Nerlich.jpg",
            ),
        },
    ),
    Package(
        "plasma-workspace-wallpapers",
        "debian",
        "usr/share/wallpapers",
        {
            "LGPL-3.0 (metadata file) / GPL-2.0-or-later (package)": (
                *_plasma("BytheWater", "ColdRipple", "ColorfulCups", "DarkestHour", "FallenLeaf", "Grey", "Kite"),
                *_plasma("summer_1am", "Autumn"),
                "SafeLanding/contents/images/5120x2880.jpg",
                "Altai/contents/images/5120x2880.png",
                "Canopee/contents/images/3840x2160.png",
                "Cascade/contents/images/3840x2160.png",
            )
        },
    ),
    Package(
        "mate-backgrounds",
        "debian",
        "usr/share/backgrounds/mate/nature",
        {
            "GPL-2.0-or-later": (
                "Aqua.jpg",
                "Blinds.jpg",
                "Dune.jpg",
                "FreshFlower.jpg",
                "Garden.jpg",
                "GreenMeadow.jpg",
                "LadyBird.jpg",
                "RainDrops.jpg",
                "Storm.jpg",
                "TwoWings.jpg",
                "Wood.jpg",
                "YellowFlower.jpg",
            )
        },
    ),
    Package(
        "lxqt-themes",
        "debian",
        "usr/share/lxqt/wallpapers",
        {
            "LGPL-2.1-or-later": (
                "Butterfly-Kenneth-Wimer.jpg",
                "Valendas.png",
                "after-the-rain.jpg",
                "appleflower.png",
                "beam.png",
                "butterfly.png",
                "cloud.png",
                "drop.png",
                "flowers.png",
                "fog.jpg",
                "this-is-not-windows.jpg",
            )
        },
    ),
    Package(
        "palapeli-data",
        "debian",
        "usr/share/palapeli/collection",
        {
            "public domain": ("cincinnati-bridge.jpg", "citrus-fruits.jpg", "european-honey-bee.jpg"),
            "GFDL-1.2-or-later": ("castle-maintenon.jpg", "panther-chameleon-female.jpg"),
        },
    ),
    Package(
        "libjxl-testdata",
        "debian",
        "usr/share/libjxl-testdata",
        {
            "CC0-1.0": (
                "external/wesaturate/500px/cvo9xd_keong_macan_srgb8.png",
                "external/wesaturate/500px/tmshre_riaphotographs_srgb8.png",
                "external/wesaturate/500px/u76c0g_bliznaca_srgb8.png",
            ),
            "BSD-3-Clause": ("jxl/hdr_room.png",),
        },
    ),
    Package("lomiri-wallpapers-20.04", "debian", "usr/share/backgrounds", {}),
    Package(
        "scikit-image",
        "wheel",
        "skimage/data",
        {
            "CC0-1.0": ("brick.png", "camera.png", "grass.png", "gravel.png", "retina.jpg"),
            "public domain": ("hubble_deep_field.jpg", "rocket.jpg", "text.png"),
            "no known copyright restrictions": ("coins.png", "ihc.png"),
        },
    ),
    Package("scikit-learn", "wheel", "sklearn/datasets/images", {"CC-BY-2.0": ("china.jpg", "flower.jpg")}),
)
"""Every package that the fetch script unpacks. Hold-out pictures are in ``holdout.json``, not here."""


def training_photographs() -> Iterator[tuple[Package, str, str]]:
    """(package, licence, path) of every training picture."""
    for package in PACKAGES:
        for licence, paths in package.photographs.items():
            for path in paths:
                yield package, licence, path
