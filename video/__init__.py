"""Clips in, clips out: frames harmonized one after another, steady, and true to the file."""

from harmonyrt.video.coding import Coding
from harmonyrt.video.frames import HarmonizedFrame
from harmonyrt.video.harmonize import Report, VideoOptions, harmonize_video, harmonized_frames
from harmonyrt.video.pasting import PastingClip
from harmonyrt.video.pipes import RawClip, RawSink
from harmonyrt.video.source import Span

__all__ = [
    "Coding",
    "HarmonizedFrame",
    "PastingClip",
    "RawClip",
    "RawSink",
    "Report",
    "Span",
    "VideoOptions",
    "harmonize_video",
    "harmonized_frames",
]
