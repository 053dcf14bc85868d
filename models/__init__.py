"""What the networks are, in PyTorch: modules that read like the papers, and checkpoint loading."""

from harmonyrt.models.checkpoints import load_phnet
from harmonyrt.models.phnet import FFHQH, IHARMONY4, PAPER, PAPER_10M, PHNet, PHNetConfig

__all__ = ["FFHQH", "IHARMONY4", "PAPER", "PAPER_10M", "PHNet", "PHNetConfig", "load_phnet"]
