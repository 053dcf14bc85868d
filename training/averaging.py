"""The mean of several runs' weights: ``python -m harmonyrt.training.averaging A B -o MEAN.safetensors``.

Runs that began with the same weights and trained on make different mistakes; where they stayed in one valley of the
loss, their mean makes fewer than each ("model soups", arXiv 2203.05482). Judge it on the validation split before use.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from harmonyrt.common import HarmonyError
from harmonyrt.common.program import run_program
from harmonyrt.models import load_phnet
from harmonyrt.training.shipping import ship


def average(files: Sequence[Path], path: Path) -> Path:
    """Write the mean of PHNet weights, every tensor by itself.

    Args:
        files: two or more, of one configuration and output form.
        path: .safetensors file, replaced in one rename.

    Raises:
        HarmonyError: fewer than two files, one that does not open, or different networks.
    """
    if len(files) < 2:
        raise HarmonyError(f"a mean needs two files or more, found {len(files)}; give another run's weights")
    networks = [load_phnet(file) for file in files]
    configs = [network.config for network in networks]
    for file, config in zip(files, configs, strict=True):
        if config != configs[0]:
            raise HarmonyError(f"{file} is another network than {files[0]}: found {config}; give files of one kind")
    states = [network.state_dict() for network in networks]
    mean = {name: _mean([state[name] for state in states]) for name in states[0]}
    sizes = tuple(sorted({size for config in configs for size in config.trained_sizes}))
    return ship(mean, dataclasses.replace(configs[0], trained_sizes=sizes), path, mean_of=[file.name for file in files])


def _mean(values: Sequence[Tensor]) -> Tensor:
    """Counters, which are no floats, come from the first."""
    first = values[0]
    return (
        torch.stack([value.double() for value in values]).mean(0).to(first.dtype)
        if first.is_floating_point()
        else first
    )


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description="Average the weights of several PHNet runs.")
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file that is written")
    options = parser.parse_args(arguments)

    def work() -> None:
        average(options.weights, options.output)

    return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
