"""The widget that takes colours back to the input's, and its use on batches."""

from __future__ import annotations

import torch

from paragon_engine.colour_match import Match, match_colours
from paragon_engine.pictures import Picture

from . import host

CHOICES: tuple[Match, ...] = ("off", "mean and deviation", "wavelet")


def match_widget() -> host.Widgets:
    """Of the way that `matched` takes."""
    return {
        "colour_match": (
            list(CHOICES),
            {
                "default": "off",
                "advanced": True,
                "tooltip": "Takes colours back to the input's where a model shifts them. off (default). mean and "
                "deviation: brightness and contrast of each channel. wavelet: all that is soft, such as light and "
                "tint, from the input, and detail from the model.",
            },
        )
    }


def matched(result: Picture, original: Picture, how: Match, *, transparent: bool = True) -> Picture:
    """A result with the colours of its original; ``transparent`` pixels of it do not count."""
    if how == "off":
        return result
    alpha = original.alpha
    weight = None if alpha is None or not transparent else torch.from_numpy(alpha)[None, None]
    before, after = (torch.from_numpy(item.pixels).movedim(-1, 0)[None] for item in (original, result))
    pixels = match_colours(after, before, how, weight)[0].movedim(0, -1).contiguous().numpy()
    return Picture(pixels, result.alpha)
