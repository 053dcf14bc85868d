"""Make trained weights withhold small changes: ``python -m harmonyrt.training.change_shrinkage W``.

A network's small changes are mostly guesses: the composite was nearly right, and a change spoils it about as
often as not. Withholding a share of them (``PHNetConfig.change_shrinkage``) costs next to no error, since they are
small, and saves some of these pictures. The share is no weight to be trained, as training pictures are spoilt less
often than others: choose it on the validation split (``python -m harmonyrt.training.scoring FILE --split val``).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.common.program import run_program
from harmonyrt.models import load_phnet
from harmonyrt.training.shipping import ship


def with_change_shrinkage(weights: Path, share: float, path: Path) -> Path:
    """Write PHNet weights with residual output with another ``change_shrinkage``; the tensors stay.

    Args:
        weights: a file that :func:`harmonyrt.models.load_phnet` opens.
        share: of small changes that is withheld, 0 to 1.
        path: .safetensors file, replaced in one rename.

    Raises:
        HarmonyError: the file does not open or has a sigmoid output, or the share is out of range.
    """
    if not 0 <= share <= 1:
        raise HarmonyError(f"change_shrinkage is a share from 0 to 1, not {share}; give another")
    network = load_phnet(weights)
    if network.config.output != "residual":
        raise HarmonyError(f"{weights} predicts a picture and not a change; give weights of output residual")
    config = dataclasses.replace(network.config, change_shrinkage=share)
    return ship(network.state_dict(), config, path, shrunk_from=weights.name)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Withhold a share of the small changes that PHNet weights predict.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--share", type=float, required=True, help="0 to 1; 0 takes it back")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file that is written")
    options = parser.parse_args(arguments)

    def work() -> None:
        with_change_shrinkage(options.weights, options.share, options.output)

    return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
