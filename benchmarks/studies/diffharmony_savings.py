"""What specialisation saves, counted: parameters and FLOPs of each stage, plain against specialised.

Full size at 512 -> 256 unless told otherwise; needs no weights and no memory:

    python -m harmonyrt.benchmarks.studies.diffharmony_savings
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harmonyrt.export.diffharmony import specialise
from harmonyrt.models.diffharmony import (
    HarmonyVAE,
    Refiner,
    RefinerConfig,
    UNet,
    UNetConfig,
    VAEConfig,
)
from harmonyrt.models.diffharmony.sampler import Step
from harmonyrt.models.diffharmony.text import TextConfig, TextEncoder

TABLE_ROWS = 5


@dataclass(frozen=True)
class Stage:
    """One call of one network.

    Attributes:
        name: for the table.
        parameters: values that it holds: weights and tables.
        gflops: floating point operations of convolutions and matrix products, in 1e9; a product and a sum are two.
    """

    name: str
    parameters: int
    gflops: float


def stages(size: int, output_size: int) -> list[Stage]:
    """Count every stage at full size on meta tensors.

    Args:
        size: side of stage one's picture.
        output_size: side of stage two's.
    """
    with torch.device("meta"):
        latent, side = size // 8, output_size
        latents, noise, condition = (torch.zeros(1, c, latent, latent) for c in (4, 4, 5))
        image, mask = torch.zeros(1, 3, size, size), torch.zeros(1, 1, size, size)
        text, step = torch.zeros(1, 77, 768), torch.zeros(1, dtype=torch.int64)
        encoder, unet = TextEncoder(TextConfig()), UNet(UNetConfig())
        vae, refiner = HarmonyVAE(VAEConfig(additional_in_channels=1)), Refiner(RefinerConfig())
        rows = [Step(0.0, 1.0, 1.0, -1.0, 0.0)] * TABLE_ROWS  # how many there are counts here, not what they say
        unet_input = torch.cat([latents, condition], 1)
        small = torch.zeros(1, 7, side, side)
        return [
            _counted("text encoder", encoder, torch.zeros(1, 77, dtype=torch.int64)),
            _counted("UNet, plain", unet, unet_input, torch.zeros(1), text),
            _counted("UNet, one step", specialise.DenoisingStep(unet, text, rows), latents, condition, noise, step),
            _counted("VAE encoder, plain", nn.Sequential(vae.encoder, vae.quant_conv), image),
            _counted("VAE encoder", specialise.EncodeComposite(vae), image, mask, noise),
            _counted("VAE decoder, plain", nn.Sequential(vae.post_quant_conv, vae.decoder), latents),
            _counted("VAE decoder", specialise.DecodeLatents(vae), latents),
            _counted("harmony decoder", specialise.DecodeWithCondition(vae), latents, image, mask, noise),
            _counted("refiner, base", refiner, small),
        ]


def _counted(name: str, module: nn.Module, *inputs: torch.Tensor) -> Stage:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*inputs)
    parameters = sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))
    return Stage(name, parameters, counter.get_total_flops() / 1e9)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of stage one's picture (default: 512)")
    parser.add_argument("--output-size", type=int, default=256, help="side of stage two's picture (default: 256)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    counted = stages(arguments.size, arguments.output_size)
    if arguments.json:
        print(json.dumps([asdict(stage) for stage in counted], indent=2))
        return
    for stage in counted:
        print(f"{stage.name:22s} {stage.parameters:>13,d} parameters {stage.gflops:>9.1f} GFLOP")


if __name__ == "__main__":
    main()
