"""A custom node for the test server: from now on, memory runs out in convolutions that are larger than a limit."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

_convolve: Any = F.conv2d


class OutOfMemory:
    """Hands a picture on."""

    CATEGORY = "test"
    FUNCTION = "limit"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        return {"required": {"image": ("IMAGE",), "elements": ("INT", {"default": 0, "max": 2**31})}}

    def limit(self, image: torch.Tensor, elements: int) -> tuple[torch.Tensor]:
        """``elements`` of a convolution's input; 0 lifts the limit."""

        def convolve(x: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
            if x.numel() > elements:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory (simulated)")
            return _convolve(x, *rest, **options)

        F.conv2d = convolve if elements else _convolve
        return (image,)


NODE_CLASS_MAPPINGS = {"TestOutOfMemory": OutOfMemory}
