"""Video: frames streamed through a model, everything else in the file kept."""

from .cuts import CutDetector
from .encode import CODECS, EncodeOptions
from .frames import FrameSettings, FrameUpscaler, upscale_frames
from .job import VideoSettings, VideoSummary, upscale_video
from .source import Frame, VideoInfo, Window, probe, read_frames
from .temporal import has_feedback

__all__ = [
    "CODECS",
    "CutDetector",
    "EncodeOptions",
    "Frame",
    "FrameSettings",
    "FrameUpscaler",
    "VideoInfo",
    "VideoSettings",
    "VideoSummary",
    "Window",
    "has_feedback",
    "probe",
    "read_frames",
    "upscale_frames",
    "upscale_video",
]
