"""How large the output is to be: the widgets of the nodes that upscale, and what they mean for the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from paragon_arch.errors import InvalidOptionError
from paragon_engine.upscale import UpscaleSettings

from . import host

PRESETS: dict[str, tuple[int, int]] = {
    "HD (1280 x 720)": (1280, 720),
    "Full HD (1920 x 1080)": (1920, 1080),
    "QHD (2560 x 1440)": (2560, 1440),
    "4K (3840 x 2160)": (3840, 2160),
    "8K (7680 x 4320)": (7680, 4320),
}
"""(width, height) of a screen; an upright picture gets an upright one."""
RESIZE = ("model scale", "factor", "pixels", "longest side", *PRESETS)
LARGEST = 32768
MEGAPIXEL = 1_000_000


@dataclass(frozen=True)
class Size:
    """How large the output is to be: the values of the widgets that `size_widgets` describes."""

    resize: str = "model scale"
    factor: float = 2.0
    width: int = 0
    height: int = 0
    longest_side: int = 2048
    max_megapixels: float = 0.0

    def applied(self, plain: UpscaleSettings, size: tuple[int, int], scale: int) -> UpscaleSettings:
        """The engine's settings with the output's size, for an input of (width, height) and a model of a scale.

        Raises:
            InvalidOptionError: an unknown choice, "pixels" without width and height, or an output that is too large.
        """
        wanted = self._wanted(plain, size)
        try:
            limited = self._limited(wanted, wanted.output_size(size, scale))
            limited.applications(size, limited.output_size(size, scale), scale)
            return limited
        except InvalidOptionError as error:
            if "max_output_pixels" not in str(error):
                raise
            raise InvalidOptionError(f"{str(error).partition(': choose')[0]}: ask for a smaller size") from error

    def _wanted(self, plain: UpscaleSettings, size: tuple[int, int]) -> UpscaleSettings:
        if self.resize == "model scale":
            return plain
        if self.resize == "factor":
            return replace(plain, outscale=self.factor)
        if self.resize == "pixels":
            return replace(plain, size=self._pixels())
        if self.resize == "longest side":
            return replace(plain, size=(self.longest_side, self.longest_side), fit=True)
        if self.resize not in PRESETS:  # a link may bring any text
            raise InvalidOptionError(f"resize {self.resize!r} is unknown: choose {', '.join(RESIZE)}")
        long, short = PRESETS[self.resize]
        return replace(plain, size=(long, short) if size[0] >= size[1] else (short, long), fit=True)

    def _pixels(self) -> tuple[int | None, int | None]:
        if not (self.width or self.height):
            raise InvalidOptionError("resize is 'pixels', but width and height are both 0: give one of them, or both")
        return self.width or None, self.height or None

    def _limited(self, wanted: UpscaleSettings, size: tuple[int, int]) -> UpscaleSettings:
        """With the largest size of the same proportions that the limit allows, where it is exceeded."""
        limit = self.max_megapixels * MEGAPIXEL
        if not limit or size[0] * size[1] <= limit:
            return wanted
        shrink = math.sqrt(limit / (size[0] * size[1]))
        return replace(wanted, size=(max(1, int(size[0] * shrink)), max(1, int(size[1] * shrink))), fit=False)


def resize_widget() -> host.Widgets:
    """Of the kind of size; the one that the node cannot do without."""
    return {
        "resize": (
            list(RESIZE),
            {
                "default": "model scale",
                "tooltip": "Size of the output. model scale (default): what the model was made for. All others: the "
                "model runs, more than once where once is too small, and a Lanczos filter makes the exact size. HD to "
                "8K: as large as fits into that screen, upright for upright pictures; nothing is cut or stretched.",
            },
        )
    }


def size_widgets() -> host.Widgets:
    """Of the numbers that belong to a kind of size; the front end shows those that apply (web/js/fields.js)."""
    pixels = {"default": 0, "min": 0, "max": LARGEST}
    return {
        "factor": (
            "FLOAT",
            {
                "default": 2.0,
                "min": 0.1,
                "max": 16.0,
                "step": 0.1,
                "tooltip": "Output pixels per input pixel (default 2). Beyond the model's scale it runs again on its "
                "own result: 4 with a 2x model is the same as two nodes in a row.",
            },
        ),
        "width": (
            "INT",
            {**pixels, "tooltip": "Width of the output in pixels; 0 (default) follows from the height."},
        ),
        "height": (
            "INT",
            {
                **pixels,
                "tooltip": "Height of the output in pixels; 0 (default) follows from the width. With both given the "
                "picture may be stretched.",
            },
        ),
        "longest_side": (
            "INT",
            {
                "default": 2048,
                "min": 16,
                "max": LARGEST,
                "tooltip": "Pixels of the longer side of the output (default 2048).",
            },
        ),
    }


def limit_widget() -> host.Widgets:
    """Of a limit that holds whatever the kind of size."""
    return {
        "max_megapixels": (
            "FLOAT",
            {
                "default": 0.0,
                "min": 0.0,
                "max": 1000.0,
                "step": 0.5,
                "advanced": True,
                "tooltip": "Largest output in millions of pixels; a larger one is made smaller in proportion. "
                "0 (default): no limit.",
            },
        )
    }
