"""`harmonyrt build diffharmony`: the options, and what they mean."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from harmonyrt.common import HarmonyError
from harmonyrt.common.progress import say
from harmonyrt.common.streams import current as streams
from harmonyrt.export.build.bundle import check_place
from harmonyrt.export.build.recipe import parse_size, unchanged
from harmonyrt.export.build.summary import as_json, exit_code, print_plan, print_table
from harmonyrt.export.diffharmony.build import build_bundles
from harmonyrt.export.diffharmony.plain_folder import MARK, PlainRecipe, write_plain
from harmonyrt.export.diffharmony.provenance import lines
from harmonyrt.export.diffharmony.recipe import DiffusionRecipe, Source, plan
from harmonyrt.export.targets import BuildOptions

DEFAULT_STEPS = (5, 1, 2, 3, 4, 8, 10)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HarmonyError(f"{message}; see harmonyrt build diffharmony --help")


def parser() -> argparse.ArgumentParser:
    """The options of `harmonyrt build diffharmony`."""
    result = _Parser(
        prog="harmonyrt build diffharmony",
        description="Build DiffHarmony's engines from folders in diffusers layout, and prove each one.",
    )
    add = result.add_argument
    add("model", choices=["diffharmony"])
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
    add("--precisions", nargs="+", default=["fp32"], metavar="PRECISION", help="fp32, fp16, bf16; a component that"
        " fails its gate in fp16 is built in bf16, then fp32, and the build says so")  # fmt: skip
    add("--targets", nargs="+", default=["onnx"], metavar="TARGET", help="onnx, openvino, tensorrt, tensorrt-rtx")
    add("--output", default="engines", metavar="FOLDER", help="receives one folder per bundle (default: engines)")
    add("--plain", action="store_true", help="write stage one unspecialised, as a folder that Hugging Face's ONNX"
        " pipelines open, instead of a bundle")  # fmt: skip
    add("--compute-capabilities", nargs="+", default=[], metavar="X.Y", help="TensorRT: cards to build for")
    add("--threads", type=int, metavar="N", help="CPU threads; default: all")
    add("--dry-run", action="store_true", help="print the plan and build nothing")
    add("--force", action="store_true", help="build even what is unchanged")
    add("--json", action="store_true", help="print the result as JSON")
    return result


def run(argv: Sequence[str] | None = None) -> int:
    """Build; returns the exit code. Errors of the user's are raised for the caller to print.

    Raises:
        HarmonyError: wrong usage or input.
    """
    arguments = parser().parse_args(argv)
    if arguments.plain:
        return _run_plain(arguments)
    recipes, output = _recipes(arguments), Path(arguments.output)
    if arguments.dry_run:
        for recipe in recipes:
            check_place(output / recipe.name)
        rows = [(r, output / r.name, _status(r, output, arguments.force)) for r in recipes]
        print_plan(rows, arguments.json)  # type: ignore[arg-type]
        return 0
    _say_random(recipes[0].source)
    if not arguments.json:
        streams().results_are_files()
    outcomes = build_bundles(recipes, output, arguments.force)
    if arguments.json:
        print(json.dumps(as_json(outcomes), indent=2))
    else:
        print_table(outcomes)
        for note in (n for o in outcomes if o.manifest for n in o.manifest.model.config["fallbacks"]):
            print(f"fell back: {note}")
        for line in dict.fromkeys(
            line for o in outcomes if o.manifest for line in lines(o.manifest.model.config.get("sources", {}))
        ):
            print(f"from {line}")
        if recipes[0].source.random:
            print("random weights: for latency work only")
    return exit_code(outcomes)


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
    _say_random(recipe.source)
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


def _say_random(source: Source) -> None:
    if source.random:
        say("harmonyrt: the weights are random: engines for latency work, their pictures are noise")


def _status(recipe: DiffusionRecipe, output: Path, force: bool) -> str:
    if not recipe.targets:
        return "nothing"
    return "unchanged" if not force and unchanged(recipe, output / recipe.name) else "to build"


def _recipes(arguments: argparse.Namespace) -> list[DiffusionRecipe]:
    source = _source(arguments)
    options = BuildOptions(
        target="",
        size=None,
        threads=arguments.threads,
        compute_capabilities=tuple(arguments.compute_capabilities),
        cache=Path(arguments.output) / ".cache",
    )
    return plan(
        source,
        _size(arguments.inference_size),
        _size(arguments.output_size) if arguments.output_size else None,
        arguments.precisions,
        arguments.targets,
        arguments.steps,
        options,
    )


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
    if arguments.threads is not None and arguments.threads < 1:
        raise HarmonyError(f"--threads {arguments.threads} is not possible; give a number from 1")
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
