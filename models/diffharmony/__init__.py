"""DiffHarmony and DiffHarmony++ (Zhou et al., arXiv 2404.06139): latent diffusion, then refinement."""

from harmonyrt.models.diffharmony.configurations import load_sampler
from harmonyrt.models.diffharmony.folders import load_diffharmony, load_refiner, load_unet, load_vae
from harmonyrt.models.diffharmony.pipeline import DiffHarmony, Noise, Trace
from harmonyrt.models.diffharmony.refiner import Refiner, RefinerConfig
from harmonyrt.models.diffharmony.sampler import SamplerConfig
from harmonyrt.models.diffharmony.unet import UNet, UNetConfig
from harmonyrt.models.diffharmony.vae import AutoencoderKL, HarmonyVAE, VAEConfig

__all__ = [
    "AutoencoderKL", "DiffHarmony", "HarmonyVAE", "Noise", "Refiner", "RefinerConfig", "SamplerConfig", "Trace", "UNet",
    "UNetConfig", "VAEConfig", "load_diffharmony", "load_refiner", "load_sampler", "load_unet", "load_vae",
]  # fmt: skip
