"""Freeing memory that PyTorch keeps."""

from __future__ import annotations


def safe_cuda_cache_empty() -> None:
    """There is no GPU here."""
