"""One program that proves the GPU path, in whatever time there is: ``python -m benchmarks.gpu --help``."""

from .program import main

__all__ = ["main"]
