"""ComfyUI nodes: each takes its widgets' values, calls a function of the libraries, and hands on what comes back."""

from __future__ import annotations

from .load_model import LoadModel

NODE_CLASS_MAPPINGS: dict[str, type] = {"ParagonSRLoadModel": LoadModel}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {"ParagonSRLoadModel": "Load ParagonSR Model"}
