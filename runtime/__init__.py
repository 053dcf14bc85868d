"""Opens bundles and runs them. Needs numpy, pillow and one inference engine; never torch."""

from harmonyrt.common import HarmonyError, HarmonyNote, HarmonyWarning, OutOfMemory, WorkFailed
from harmonyrt.runtime.harmonized import Harmonized, Layer
from harmonyrt.runtime.harmonizer import Harmonizer
from harmonyrt.runtime.images.compose import Composed, compose
from harmonyrt.runtime.images.encode import write_picture_file
from harmonyrt.runtime.images.mask_files import matched_mask, read_mask_file
from harmonyrt.runtime.images.masks import MaskFile
from harmonyrt.runtime.images.pictures import PictureFile, read_picture_file
from harmonyrt.runtime.info import Info, Timings
from harmonyrt.runtime.lut import ColourLut

__all__ = [
    "ColourLut",
    "Composed",
    "Harmonized",
    "Harmonizer",
    "HarmonyError",
    "HarmonyNote",
    "HarmonyWarning",
    "Info",
    "Layer",
    "MaskFile",
    "OutOfMemory",
    "PictureFile",
    "Timings",
    "WorkFailed",
    "compose",
    "matched_mask",
    "read_mask_file",
    "read_picture_file",
    "write_picture_file",
]
