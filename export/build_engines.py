#!/usr/bin/env python3
"""Build engine bundles from a checkpoint: the main job, also known as `harmonyrt build`.

python export/build_engines.py phnet --sizes 128 --precisions fp32 --targets onnx --output engines/
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

try:
    from harmonyrt.common import HarmonyError, HarmonyWarning
    from harmonyrt.common.program import run_program
    from harmonyrt.common.progress import say
    from harmonyrt.common.streams import current as streams
    from harmonyrt.export import rewrites
    from harmonyrt.export.build.argument_order import model_first
    from harmonyrt.export.build.bundle import check_place
    from harmonyrt.export.build.job import build_bundles
    from harmonyrt.export.build.recipe import BundleRecipe, plan, unchanged
    from harmonyrt.export.build.summary import as_json, exit_code, print_plan, print_table
    from harmonyrt.export.targets import BuildOptions
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("harmonyrt"):
        raise
    sys.exit("HarmonyRT is not installed for this Python: run pip install -e '.[build]' in the repository")


MODELS = ("phnet", "diffharmony")
_TUNE_HELP = "measure on this machine which rewrites, backend and threads are fastest (default: 60 s for each bundle)"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HarmonyError(f"{message}; see harmonyrt build --help")


def parser() -> argparse.ArgumentParser:
    """The options of `harmonyrt build`."""
    result = _Parser(prog="harmonyrt build", description="Build engine bundles from a checkpoint, and prove each one.")
    add = result.add_argument
    add("model", help="phnet; diffharmony has options of its own: harmonyrt build diffharmony --help")
    add("--checkpoint", metavar="PATH", help="weights (.pth or .safetensors); default: the shipped ones")
    about = (
        "what the network predicts: sigmoid (a picture, as released) or residual (a change); default: as the file says"
    )
    add("--network-output", metavar="KIND", help=about)
    add("--patch-shrinkage", type=float, metavar="SHARE", help="of the weights, where their file does not say it")
    add("--change-shrinkage", type=float, metavar="SHARE", help="of the weights, where their file does not say it")
    add("--sizes", nargs="+", default=["128"], metavar="SIZE", help="128, 256, 256x512 (height x width), dynamic")
    add("--precisions", nargs="+", default=["fp32"], metavar="PRECISION", help="fp32, fp16, bf16, int8")
    add("--targets", nargs="+", default=["onnx"], metavar="TARGET", help="onnx, openvino, tensorrt, tensorrt-rtx")
    add("--output", default="engines", metavar="FOLDER", help="receives one folder per bundle (default: engines)")
    names = ", ".join(rewrites.REWRITES)
    about = f"exact graph rewrites: fast (the default), low-memory, none, or some of {names}"
    add("--rewrites", nargs="*", metavar="NAME", help=about)
    add("--calibration", metavar="FILE", help="int8: what harmonyrt calibrate found, instead of calibrating anew")
    add("--compute-capabilities", nargs="+", default=[], metavar="X.Y", help="TensorRT: cards to build for")
    add("--optimization-level", type=int, metavar="N", help="TensorRT: builder optimisation level")
    add("--workspace", type=int, metavar="MIB", help="TensorRT: workspace limit")
    add("--version-compatible", action="store_true", help="TensorRT: plans that later versions open too")
    add("--hardware-compatible", action="store_true", help="TensorRT: plans that later cards run too")
    add("--threads", type=int, metavar="N", help="CPU threads; default: all")
    add("--tune", nargs="?", type=float, const=60.0, metavar="SECONDS", help=_TUNE_HELP)
    add("--dry-run", action="store_true", help="print the plan and build nothing")
    add("--force", action="store_true", help="build even what is unchanged")
    add("--json", action="store_true", help="print the result as JSON")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run `harmonyrt build`; returns the exit code: 0 fine, 1 an engine failed, 2 wrong usage, 130 interrupted."""
    given = list(sys.argv[1:] if argv is None else argv)

    def work() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("always", HarmonyWarning)
            warnings.showwarning = _say_warning
            return _dispatch(given)

    return run_program(work, interrupted="interrupted; the bundle that was being built was not written")


def _say_warning(message, category, filename, lineno, file=None, line=None) -> None:
    say(f"warning: {message}")


def _dispatch(given: list[str]) -> int:
    from harmonyrt.export.diffharmony import command  # folders instead of a file, two sizes: options of its own

    given = model_first(given, MODELS, (parser(), command.parser()))
    if given[:1] == ["diffharmony"]:
        return command.run(given)
    return _run(parser().parse_args(given))


def _run(arguments: argparse.Namespace) -> int:
    recipes, output = _recipes(arguments), Path(arguments.output)
    if arguments.dry_run:
        for recipe in recipes:
            check_place(output / recipe.name)
        print_plan([(r, output / r.name, _status(r, output, arguments.force)) for r in recipes], arguments.json)
        return 0
    if not arguments.json:
        streams().results_are_files()
    outcomes = build_bundles(recipes, output, arguments.force)
    if arguments.json:
        print(json.dumps(as_json(outcomes), indent=2))
    else:
        print_table(outcomes)
    return exit_code(outcomes)


def _recipes(arguments: argparse.Namespace) -> list[BundleRecipe]:
    for name in ("threads", "workspace", "tune"):
        value = getattr(arguments, name)
        if value is not None and not 1 <= value < math.inf:
            raise HarmonyError(f"--{name} {value:g} is not possible; give a number from 1")
    options = BuildOptions(
        target="",
        size=None,
        threads=arguments.threads,
        compute_capabilities=tuple(arguments.compute_capabilities),
        optimization_level=arguments.optimization_level,
        workspace_mib=arguments.workspace,
        version_compatible=arguments.version_compatible,
        hardware_compatible=arguments.hardware_compatible,
        cache=Path(arguments.output) / ".cache",
    )
    meaning = {
        "output": arguments.network_output,
        "patch_shrinkage": arguments.patch_shrinkage,
        "change_shrinkage": arguments.change_shrinkage,
    }
    return plan(
        arguments.model,
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


def _status(recipe: BundleRecipe, output: Path, force: bool) -> str:
    if not recipe.targets:
        return "nothing"
    return "unchanged" if not force and unchanged(recipe, output / recipe.name, recipe.tune is not None) else "to build"


if __name__ == "__main__":
    sys.exit(main())
