"""PHNet as a family of one component: its options, and how to load it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harmonyrt.common.progress import Reporter
from harmonyrt.export import rewrites
from harmonyrt.export.build.family import NETWORK
from harmonyrt.export.build.joined_recipe import JoinedRecipe, joined
from harmonyrt.export.build.recipe import options_of
from harmonyrt.export.phnet.recipe import PHNetRecipe, expand_recipes
from harmonyrt.export.phnet.session import PHNetSession
from harmonyrt.runtime.manifest import PRECISIONS

FALLBACK = {precision: (precision,) for precision in PRECISIONS}
_TUNE_HELP = "measure on this machine which rewrites, backend and threads are fastest (default: 60 s for each bundle)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only PHNet has."""
    add = parser.add_argument
    add("--checkpoint", metavar="PATH", help="weights (.pth or .safetensors); default: the shipped ones")
    about = (
        "what the network predicts: sigmoid (a picture, as released) or residual (a change); default: as the file says"
    )
    add("--network-output", metavar="KIND", help=about)
    add("--patch-shrinkage", type=float, metavar="SHARE", help="of the weights, where their file does not say it")
    add("--change-shrinkage", type=float, metavar="SHARE", help="of the weights, where their file does not say it")
    add("--sizes", nargs="+", default=["128"], metavar="SIZE", help="128, 256, 256x512 (height x width), dynamic")
    names = ", ".join(rewrites.REWRITES)
    about = f"exact graph rewrites: fast (the default), low-memory, none, or some of {names}"
    add("--rewrites", nargs="*", metavar="NAME", help=about)
    add("--calibration", metavar="FILE", help="int8: what harmonyrt calibrate found, instead of a new calibration")
    add("--optimization-level", type=int, metavar="N", help="TensorRT: builder optimisation level")
    add("--workspace", type=int, metavar="MIB", help="TensorRT: workspace limit")
    add("--version-compatible", action="store_true", help="TensorRT: plans that later versions open too")
    about = "TensorRT: with --version-compatible: leave the lean runtime out of the plans; this library opens them"
    add("--lean-runtime", type=Path, metavar="FILE", help=about)
    add("--hardware-compatible", action="store_true", help="TensorRT: plans that later GPUs run too")
    add("--one-bundle", action="store_true", help="one bundle for each size, with engines of all precisions")
    add("--tune", nargs="?", type=float, const=60.0, metavar="SECONDS", help=_TUNE_HELP)


def recipes(arguments: argparse.Namespace) -> list[PHNetRecipe | JoinedRecipe[PHNetRecipe]]:
    """One recipe per size and precision, or with ``--one-bundle`` per size."""
    options = options_of(
        arguments,
        optimization_level=arguments.optimization_level,
        workspace_mib=arguments.workspace,
        version_compatible=arguments.version_compatible,
        lean_runtime=arguments.lean_runtime,
        hardware_compatible=arguments.hardware_compatible,
    )
    meaning = {
        "output": arguments.network_output,
        "patch_shrinkage": arguments.patch_shrinkage,
        "change_shrinkage": arguments.change_shrinkage,
    }
    found = expand_recipes(
        arguments.checkpoint,
        arguments.sizes,
        arguments.precisions,
        arguments.targets,
        rewrites.DEFAULT if arguments.rewrites is None else arguments.rewrites,
        options,
        arguments.tune,
        None if arguments.calibration is None else Path(arguments.calibration),
        {name: value for name, value in meaning.items() if value is not None},
    )
    return joined(found) if arguments.one_bundle else list(found)


def component_names(recipe: PHNetRecipe) -> tuple[str, ...]:
    """One network."""
    return (NETWORK,)


def built_together(recipes: Sequence[PHNetRecipe]) -> list[list[PHNetRecipe]]:
    """Each by itself: the session keeps the graphs of one size for the next precision."""
    return [[recipe] for recipe in recipes]


def load(recipe: PHNetRecipe, report: Reporter) -> PHNetSession:
    """Load and trace: a bad checkpoint fails here, before anything is written."""
    session = PHNetSession(recipe.checkpoint, recipe.options.threads, report, recipe.meaning)
    assert session.traced is not None
    return session
