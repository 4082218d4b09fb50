"""A new virtual environment that has our wheel and, where a test wants it, stand-ins for what the hook meets."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

SPANDREL = """
class Registry:
    def __init__(self):
        self.ids = []
    def add(self, *ids):
        self.ids += ids
MAIN_REGISTRY = Registry()
"""
"""As much of spandrel as registering needs."""

SUPPORT = """
from spandrel import MAIN_REGISTRY
def register():
    if "ours" not in MAIN_REGISTRY.ids:
        MAIN_REGISTRY.add("ours")
"""
"""As much of paragon_arch.spandrel_support."""


class Environment:
    """`packages` is its site-packages folder, `python` its interpreter."""

    def __init__(self, folder: Path, base: Path = Path(sys.executable)) -> None:
        subprocess.run([str(base), "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.packages = Path(subprocess.check_output([str(self.python), "-c", ask], text=True).strip())

    def unpack(self, wheel: Path) -> None:
        """Install a wheel that has nothing but files for site-packages."""
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)

    def write(self, name: str, text: str) -> None:
        """Write a file below site-packages."""
        path = self.packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def add_ours(self) -> None:
        """Make torch, spandrel and whatever else runs the tests importable."""
        self.write("tests-environment.pth", sysconfig.get_path("purelib") + "\n")

    def run(self, code: str, *options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python code and wait for it, whatever its exit status."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [str(self.python), *options, "-c", code]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=cwd or self.packages.parent, env=variables
        )

    def output(self, code: str, *options: str) -> str:
        """Standard output of code that must end well and say nothing else."""
        done = self.run(code, *options)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", done.stderr
        return done.stdout.strip()
