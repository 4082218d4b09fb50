"""Video: frames streamed through a model, everything else in the file kept."""

from .cuts import CutDetector
from .frames import FrameSettings, FrameUpscaler, upscale_frames
from .temporal import has_feedback

__all__ = ["CutDetector", "FrameSettings", "FrameUpscaler", "has_feedback", "upscale_frames"]
