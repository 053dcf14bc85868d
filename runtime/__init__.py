"""Opens bundles and runs them. Needs numpy, pillow and one inference engine; never torch."""

from harmonyrt.common import HarmonyError, HarmonyNote, HarmonyWarning, OutOfMemory, WorkFailed
from harmonyrt.runtime.harmonizer import Harmonizer
from harmonyrt.runtime.images.masks import MaskFile
from harmonyrt.runtime.info import Info, Timings

__all__ = [
    "Harmonizer",
    "HarmonyError",
    "HarmonyNote",
    "HarmonyWarning",
    "Info",
    "MaskFile",
    "OutOfMemory",
    "Timings",
    "WorkFailed",
]
