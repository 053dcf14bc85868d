"""Opens bundles and runs them. Needs numpy, pillow and one inference engine; never torch."""

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime.harmonizer import Harmonizer, Info, Timings
from harmonyrt.runtime.masks import HarmonyWarning

__all__ = ["Harmonizer", "HarmonyError", "HarmonyWarning", "Info", "Timings", "WorkFailed"]
