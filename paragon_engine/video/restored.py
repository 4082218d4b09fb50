"""How much to restore a video: one blend for all of it, from a few frames."""

from __future__ import annotations

from statistics import median
from typing import cast

import torch

from ..pictures import Picture, PictureInfo
from ..pictures.damage import STEP
from ..progress import log
from ..restoring import Ready, Restorer, findings_of
from .source import VideoInfo, Window, read_frames

PLACES = (0.1, 0.5, 0.9)
"""Of the frames that are measured, as parts of the whole: a beginning is often black."""


def suited_to_video(model: Ready | Restorer[Ready], info: VideoInfo) -> Ready:
    """The model for a video: itself, or the blend that suits its frames; one line says why."""
    if not isinstance(model, Restorer):
        return model
    found = [findings_of(picture) for picture in _samples(info)]
    wanted = round(median([weight for _, weight in found]) / STEP) * STEP if found else 0.0
    what = "; ".join(dict.fromkeys(text for text, _ in found)) or "no frame could be looked at"
    log.info("%s: %s; restored by %.2f", info.path, what, wanted)
    return cast("Ready", model.at(wanted))


def _samples(info: VideoInfo) -> list[Picture]:
    seconds = float(info.frames / info.rate) if info.rate else 0.0
    pictures: list[Picture] = []
    for start in dict.fromkeys(place * seconds for place in PLACES):
        frame = next(read_frames(info, torch.device("cpu"), window=Window(start)), None)
        if frame is not None:
            pictures.append(Picture(frame.image[0].permute(1, 2, 0).numpy(), info=PictureInfo(info.path)))
    return pictures
