"""What the networks are, in PyTorch: modules that read like the papers, and checkpoint loading."""

from harmonyrt.models.checkpoints import load_phnet
from harmonyrt.models.phnet import FFHQH, IHARMONY4, PHNet, PHNetConfig

__all__ = ["FFHQH", "IHARMONY4", "PHNet", "PHNetConfig", "load_phnet"]
