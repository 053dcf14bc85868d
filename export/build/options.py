"""The command line of `harmonyrt build`: options that every family has, and those that a family adds.

It is argparse, where the other verbs use typer: typer has neither lists after one option (`--sizes 256 512`) nor
options with an optional value (`--tune`), and both are in use.
"""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from harmonyrt.common import HarmonyError
from harmonyrt.export.build.command import run
from harmonyrt.export.build.family import Family

FAMILIES = {"phnet": "harmonyrt.export.phnet.family", "diffharmony": "harmonyrt.export.diffharmony.family"}
"""Module of every family; the first one's options are those that `harmonyrt build --help` lists."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HarmonyError(f"{message}; see {self.prog} --help")


def family_named(name: str) -> Family[Any]:
    """A family by name.

    Raises:
        HarmonyError: there is none of that name.
    """
    if name not in FAMILIES:
        raise HarmonyError(f"model {name!r} is not known; choose from {', '.join(FAMILIES)}")
    return importlib.import_module(FAMILIES[name])  # type: ignore[return-value]


def parser_of(name: str) -> argparse.ArgumentParser:
    """The options of `harmonyrt build` for one family."""
    first, *others = FAMILIES
    more = "" if name == first else f" {name}"
    result = _Parser(
        prog=f"harmonyrt build{more}", description="Build engine bundles from a checkpoint, and prove each one."
    )
    add = result.add_argument
    elsewhere = ", ".join(f"{other} (options: harmonyrt build {other} --help)" for other in others)
    add("model", help=f"{first}, {elsewhere}" if name == first else name)
    family = family_named(name)
    family.add_options(result)
    falls_back = any(len(precisions) > 1 for precisions in family.FALLBACK.values())
    about = ", ".join(family.FALLBACK)
    if falls_back:
        about += "; a component that fails its gate in fp16 is built in bf16, then fp32, and the build says so"
    add("--precisions", nargs="+", default=["fp32"], metavar="PRECISION", help=about)
    add("--targets", nargs="+", default=["onnx"], metavar="TARGET", help="onnx, openvino, tensorrt, tensorrt-rtx")
    add("--output", "-o", default="engines", metavar="FOLDER", help="receives one folder per bundle (default: engines)")
    add("--compute-capabilities", nargs="+", default=[], metavar="X.Y", help="TensorRT: GPUs to build for")
    about = "TensorRT: plans without weights, which an ONNX file next to them has"
    add("--strip-weights", action="store_true", help=about)
    about = "TensorRT: add the kernels that timing chooses to a file; what is in it already is used"
    add("--record-tactics", type=Path, metavar="FILE", help=about)
    add("--tactics", type=Path, metavar="FILE", help="TensorRT: use the kernels of such a file, and time none")
    add("--threads", type=int, metavar="N", help="CPU threads; default: all")
    add("--dry-run", action="store_true", help="print the plan and build nothing")
    add("--force", action="store_true", help="build even what is unchanged")
    add("--json", action="store_true", help="print the result as JSON")
    add("--verbose", action="store_true", help="say which places of the graph a rewrite leaves as they are, and why")
    result.set_defaults(run=run, family=family)
    return result


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. ``arguments.run(arguments)`` does what it asks for.

    Raises:
        HarmonyError: wrong usage.
    """
    parsers = {name: parser_of(name) for name in FAMILIES}
    given = model_first(given, tuple(parsers), tuple(parsers.values()))
    arguments = parsers.get(given[0] if given else "", next(iter(parsers.values()))).parse_args(given)
    family_named(arguments.model)
    for name in ("threads", "workspace", "tune"):
        value = getattr(arguments, name, None)
        if value is not None and not 1 <= value < math.inf:
            raise HarmonyError(f"--{name} {value:g} is not possible; give a number from 1")
    return arguments


def model_first(given: Sequence[str], models: Sequence[str], parsers: Sequence[argparse.ArgumentParser]) -> list[str]:
    """The same arguments with the model's word, which may stand anywhere among them, at the front.

    Args:
        given: a command line; options that take one value keep it, whatever it is, and lists end at a model's name.
        models: names of models.
        parsers: whose options there are, of every model.

    Returns:
        `given` rearranged; as it is when it names no model.
    """
    takes_one = (action for parser in parsers for action in parser._actions if action.nargs is None)
    single = [option for action in takes_one for option in action.option_strings]
    before = ""
    for index, word in enumerate(given):
        is_value = len(before) > 2 and any(option.startswith(before) for option in single)  # argparse completes names
        if word in models and not is_value:
            return [word, *given[:index], *given[index + 1 :]]
        before = word
    return list(given)
