"""Gather the pictures of ``tiles.tsv`` and cut them into ``data/photographs/tiles/KIND``, for the second models.

    python -m training.data.fetch_tiles                   from GitHub and Debian packages
    python -m training.data.fetch_tiles --from FOLDER     from a folder of tiles that is there already

Every file is checked by its SHA-1; one that cannot be had, or is another one by now, is named and left out. The first
way downloads about two gigabytes and needs ``apt-get`` for the pictures of Debian packages. Tiles that are there stay.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import logging
import shutil
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from paragon_arch.errors import ImageError, ParagonError

from .fetch_photographs import unpack
from .pictures import SUFFIXES, Pixels
from .sources import Package
from .tiles import sharp_tiles

log = logging.getLogger(__name__)

SOURCES = Path(__file__).with_name("tiles.tsv")
TIMEOUT = 60.0
"""Seconds for one file."""
DEBIAN = "debian:"


@dataclass(frozen=True)
class TileSource:
    """One picture: a line of ``tiles.tsv``."""

    kind: str
    """Its folder: "photo", "art", "lineart" or "text"."""
    source: str
    """``OWNER/REPOSITORY@COMMIT`` on GitHub, or ``debian:PACKAGE=VERSION``."""
    path: str
    """Where it lies there."""
    sha1: str
    """Of the git blob, or of the file in a Debian package."""
    licence_class: str
    """A: a free licence stated for the pictures. B: that of the whole repository. S: share-alike or copyleft."""
    licence: str


Opener = Callable[[TileSource], bytes]
"""Gives the bytes of a picture; raises OSError or ParagonError where it cannot."""


def tile_sources() -> list[TileSource]:
    """The lines of ``tiles.tsv``."""
    with SOURCES.open(encoding="utf-8", newline="") as file:
        return [TileSource(*row) for row in list(csv.reader(file, delimiter="\t"))[1:]]


def fetch(sources: Iterable[TileSource], out: Path, open_source: Opener) -> tuple[int, list[str]]:
    """Cut pictures into tiles ``out/KIND/NAME-0.png``, ...

    Returns:
        Number of tiles, and what could not be had, in words.
    """
    count, missing = 0, list[str]()
    for source in sources:
        stem = f"{source.source.partition('@')[0].rpartition('/')[2].partition('=')[0]}-{source.sha1[:12]}"
        stem = stem.removeprefix(DEBIAN)
        try:
            tiles = sharp_tiles(_decode(source, open_source(source)))
        except (OSError, ParagonError) as error:
            missing.append(f"{source.source}: {source.path}: {error}")
            continue
        for index, tile in enumerate(tiles):
            target = out / source.kind / f"{stem}-{index}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                Image.fromarray(np.ascontiguousarray(tile)).save(target)
            count += 1
    return count, missing


def _decode(source: TileSource, content: bytes) -> Pixels:
    if source.sha1 not in (git_sha1(content), hashlib.sha1(content).hexdigest()):  # noqa: S324 - that is what git uses
        raise ImageError("it has changed since it was chosen")
    try:
        image = Image.open(io.BytesIO(content))
        with image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"it cannot be read as a picture ({error})") from error


def git_sha1(content: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


class Downloads:
    """Opens pictures of GitHub and of Debian packages, each package unpacked once below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packages: dict[str, Path | ParagonError] = {}

    def __call__(self, source: TileSource) -> bytes:
        """The bytes of a picture, downloaded now; raises OSError or ParagonError where that fails."""
        if source.source.startswith(DEBIAN):
            return (self._package(source.source[len(DEBIAN) :].partition("=")[0]) / source.path).read_bytes()
        repository, _, commit = source.source.partition("@")
        url = f"https://github.com/{repository}/raw/{commit}/{urllib.parse.quote(source.path)}"
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            return response.read()

    def _package(self, name: str) -> Path:
        if name not in self.packages:
            try:
                self.packages[name] = unpack(Package(name, "debian", "", {}), self.folder)
            except ParagonError as error:
                self.packages[name] = error
        found = self.packages[name]
        if isinstance(found, ParagonError):
            raise found
        return found


def take(folder: Path, out: Path) -> int:
    """Copy the tiles of a folder with a subfolder for each kind; returns how many there are.

    Raises:
        ImageError: the folder has none.
    """
    kinds = sorted({source.kind for source in tile_sources()})
    found = [path for kind in kinds for path in sorted((folder / kind).glob("*")) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise ImageError(f"{folder}: no pictures in its folders {', '.join(kinds)}")
    for path in found:
        target = out / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copyfile(path, target)
    return len(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns 0, or 1 where there are no tiles in the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/photographs/tiles"))
    parser.add_argument("--from", dest="folder", type=Path, help="a folder of tiles: photo, art, lineart, text")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if arguments.folder is not None:
            count, missing = take(arguments.folder, arguments.out), []
        else:
            with tempfile.TemporaryDirectory() as temporary:
                count, missing = fetch(tile_sources(), arguments.out, Downloads(Path(temporary)))
    except (OSError, ParagonError) as error:
        log.error("error: %s", error)
        return 1
    for line in missing:
        log.warning("left out: %s", line)
    log.info("%d tiles in %s; %d pictures could not be had", count, arguments.out, len(missing))
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
