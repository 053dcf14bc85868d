"""DiffHarmony at run time: seeded noise, the denoising loop, both stages. NumPy and sessions, nothing else."""

from harmonyrt.common.errors import Cancelled
from harmonyrt.runtime.diffusion.model import DiffusionModel, RunOptions

__all__ = ["Cancelled", "DiffusionModel", "RunOptions"]
