"""The package of PyTorch nodes."""

from __future__ import annotations

from api import Category

pytorch_category = Category("PyTorch")
