"""DiffHarmony as a family: its options, and how to load it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.common.progress import Reporter
from harmonyrt.common.streams import current as streams
from harmonyrt.export.build.bundle import check_place
from harmonyrt.export.build.recipe import options_of, parse_size
from harmonyrt.export.diffharmony.plain_folder import MARK, PlainRecipe, write_plain
from harmonyrt.export.diffharmony.recipe import FALLBACK, DiffusionRecipe, Source, expand_recipes
from harmonyrt.export.diffharmony.session import DiffHarmonySession
from harmonyrt.runtime.diffusion.schedule import COMPONENTS

__all__ = ["FALLBACK", "add_options", "built_together", "component_names", "load", "recipes"]

DEFAULT_STEPS = (5, 1, 2, 3, 4, 8, 10)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only DiffHarmony has."""
    add = parser.add_argument
    add("--checkpoint", type=Path, metavar="DIR", help="with unet/, vae/, scheduler/, text_encoder/; or a UNet alone")
    add("--base", type=Path, metavar="DIR", help="Stable Diffusion inpainting folder, for parts that are missing there")
    add("--harmony-vae", type=Path, metavar="DIR", help="VAE of DiffHarmony++, instead of vae/")
    add("--refiner", type=Path, metavar="DIR", help="refinement UNet; without it stage one's picture is the result")
    add("--random-weights", choices=["tiny", "full"], help="no checkpoint: for latency work; its pictures are noise")
    add("--random-harmony-vae", action="store_true", help="with --random-weights: with the VAE of DiffHarmony++")
    add("--inference-size", default="512", metavar="SIZE", help="stage one: 512, or HEIGHTxWIDTH (default: 512)")
    add("--output-size", metavar="SIZE", help="stage two (default: 256, or the inference size without a refiner)")
    add("--steps", nargs="+", type=int, default=list(DEFAULT_STEPS), metavar="N", help="step counts that the engine"
        f" can run, the default first (default: {' '.join(map(str, DEFAULT_STEPS))})")  # fmt: skip
    about = "TensorRT: engines whose weights may stay on the host where the GPU has no room for them"
    add("--weight-streaming", action="store_true", help=about)
    about = "write stage one unspecialised, as a folder that Hugging Face's ONNX pipelines open, instead of a bundle"
    add("--plain", dest="run", action="store_const", const=_run_plain, help=about)


def recipes(arguments: argparse.Namespace) -> list[DiffusionRecipe]:
    """One recipe per precision."""
    return expand_recipes(
        _source(arguments),
        _size(arguments.inference_size),
        _size(arguments.output_size) if arguments.output_size else None,
        arguments.precisions,
        arguments.targets,
        arguments.steps,
        options_of(arguments, weight_streaming=arguments.weight_streaming),
    )


def component_names(recipe: DiffusionRecipe) -> tuple[str, ...]:
    """Three networks, or four with a refiner."""
    return COMPONENTS if recipe.source.refines else COMPONENTS[:-1]


def built_together(recipes: Sequence[DiffusionRecipe]) -> list[list[DiffusionRecipe]]:
    """All: each network is traced once for every precision, and never in memory with another one."""
    return [list(recipes)]


def load(recipe: DiffusionRecipe, report: Reporter) -> DiffHarmonySession:
    """Load the pipeline."""
    return DiffHarmonySession(recipe, report)


def _run_plain(arguments: argparse.Namespace) -> int:
    options = vars(arguments)
    for name in ("refiner", "harmony_vae", "random_harmony_vae", "output_size"):
        if options[name]:
            raise HarmonyError(
                f"--{name.replace('_', '-')} has no use with --plain, which writes stage one with the plain VAE;"
                " leave one of them out"
            )
    if set(arguments.precisions) != {"fp32"} or set(arguments.targets) != {"onnx"}:
        raise HarmonyError("--plain writes fp32 for onnx; leave --precisions and --targets out")
    recipe = PlainRecipe(_source(arguments), _size(arguments.inference_size), arguments.threads)
    place = Path(arguments.output) / recipe.name
    if arguments.dry_run:
        check_place(place, MARK)
        print(json.dumps({"folder": str(place), **recipe.facts()}, indent=2) if arguments.json else place)
        return 0
    if not arguments.json:
        streams().results_are_files()
    status, written = write_plain(recipe, Path(arguments.output), arguments.force)
    if arguments.json:
        components = [dataclasses.asdict(one) for one in written]
        print(json.dumps({"folder": str(place), "status": status, "components": components}, indent=2))
        return 0
    print(f"{place} ({status})")
    for one in written:
        print(
            f"  {one.component:12s} {one.parameters:>11,d} parameters {one.bytes / 1e6:>8.1f} MB, relative error"
            f" {one.relative_error:.1e}"
        )
    if recipe.source.random:
        print("random weights: for latency work only")
    return 0


def _source(arguments: argparse.Namespace) -> Source:
    if (arguments.checkpoint is None) == (arguments.random_weights is None):
        raise HarmonyError(
            "diffharmony is built from a checkpoint; give either --checkpoint DIR or --random-weights tiny"
        )
    folders = ("base", "harmony_vae", "refiner")
    misplaced = next((name for name in folders if arguments.random_weights and getattr(arguments, name)), None)
    if misplaced:
        raise HarmonyError(f"--{misplaced.replace('_', '-')} has no use with --random-weights; leave one of them out")
    for name in ("checkpoint", *folders):
        folder = getattr(arguments, name)
        if folder is not None and not folder.is_dir():
            raise HarmonyError(f"--{name.replace('_', '-')} {folder} is not a folder; give one in diffusers layout")
    return Source(
        arguments.checkpoint,
        arguments.base,
        arguments.harmony_vae,
        arguments.refiner,
        arguments.random_weights,
        arguments.random_harmony_vae,
    )


def _size(text: str) -> tuple[int, int]:
    size = parse_size(text)
    if size is None:
        raise HarmonyError("diffharmony has static engines only; give a size as a number (512) or HEIGHTxWIDTH")
    return size
