"""Opens bundles and runs them. Needs numpy, pillow and one inference engine; never torch."""

from harmonyrt.common import HarmonyError, HarmonyNote, HarmonyWarning, OutOfMemory, WorkFailed
from harmonyrt.runtime.harmonized import Harmonized, Layer
from harmonyrt.runtime.harmonizer import Harmonizer
from harmonyrt.runtime.images.masks import MaskFile
from harmonyrt.runtime.info import Info, Timings
from harmonyrt.runtime.lut import ColourLut

__all__ = [
    "ColourLut",
    "Harmonized",
    "Harmonizer",
    "HarmonyError",
    "HarmonyNote",
    "HarmonyWarning",
    "Info",
    "Layer",
    "MaskFile",
    "OutOfMemory",
    "Timings",
    "WorkFailed",
]
