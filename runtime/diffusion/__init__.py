"""DiffHarmony at run time: seeded noise, the denoising loop, both stages. NumPy and sessions, nothing else."""

from harmonyrt.runtime.diffusion.model import Cancelled, DiffusionModel, RunOptions

__all__ = ["Cancelled", "DiffusionModel", "RunOptions"]
