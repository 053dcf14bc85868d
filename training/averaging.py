"""Average the weights of several runs: ``python -m harmonyrt.training.averaging A B -o MEAN.safetensors``.

Runs that began with the same weights and trained on make different mistakes; if they stayed in one valley of the
loss, their mean makes fewer than each ("model soups", arXiv 2203.05482). Score it on the validation split before use.
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
from harmonyrt.training.warm_start import with_patch_shrinkage


def average(
    files: Sequence[Path],
    path: Path,
    shares: Sequence[float] | None = None,
    patch_shrinkage: float | None = None,
) -> Path:
    """Write the mean of PHNet weights, tensor by tensor.

    Args:
        files: two or more, of one configuration and output kind.
        path: .safetensors file, replaced in one rename.
        shares: of each file, above 0 and with the sum 1; None for equal ones.
        patch_shrinkage: that every network is converted to first; None: they must agree.

    Raises:
        HarmonyError: fewer than two files, one that does not open, different networks, or shares that do not fit.
    """
    if len(files) < 2:
        raise HarmonyError(f"a mean needs two files or more, found {len(files)}; give another run's weights")
    shares = [1 / len(files)] * len(files) if shares is None else list(shares)
    if len(shares) != len(files) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise HarmonyError(f"shares {shares} do not fit {len(files)} files; give one above 0 for each, with the sum 1")
    networks = [load_phnet(file) for file in files]
    if patch_shrinkage is not None:
        if not 0 <= patch_shrinkage <= 1:
            raise HarmonyError(f"a patch shrinkage of {patch_shrinkage} was given; give a share from 0 to 1")
        networks = [with_patch_shrinkage(network, patch_shrinkage) for network in networks]
    configs = [network.config for network in networks]
    for file, config in zip(files, configs, strict=True):
        if config != configs[0]:
            raise HarmonyError(f"{file} is a different network from {files[0]}: found {config}; give files of one kind")
    states = [network.state_dict() for network in networks]
    mean = {name: _mean([state[name] for state in states], shares) for name in states[0]}
    sizes = tuple(sorted({size for config in configs for size in config.trained_sizes}))
    return ship(mean, dataclasses.replace(configs[0], trained_sizes=sizes), path, mean_of=[file.name for file in files])


def _mean(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Counters (not floats) come from the first file."""
    first = values[0]
    if not first.is_floating_point():
        return first
    weighted = [value.double() * share for value, share in zip(values, shares, strict=True)]
    return torch.stack(weighted).sum(0).to(first.dtype)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Average the weights of several PHNet runs.")
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file that is written")
    parser.add_argument("--shares", type=float, nargs="+", help="of each file, with the sum 1 (default: equal)")
    parser.add_argument("--patch-shrinkage", type=float, help="bring every network to this one first")
    options = parser.parse_args(arguments)

    def work() -> None:
        average(options.weights, options.output, options.shares, options.patch_shrinkage)

    return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
