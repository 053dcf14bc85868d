"""What every recipe has: sizes, options and targets are checked before any work, and hashed to recognise a rebuild."""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import sha256_of
from harmonyrt.export.build.family import R, Recipe
from harmonyrt.export.build.joined_recipe import JoinedRecipe
from harmonyrt.export.targets import PACKAGE_OF_TARGET, BuildOptions, Size, why_not
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.machine import machine_name
from harmonyrt.runtime.manifest import Manifest, Skipped

SIZE_MULTIPLE = 8
SMALLEST_SIDE = 16  # instance norm of one pixel has no answer (docs/phnet.md, "Input and output")
LARGEST_SIDE = 16384
DYNAMIC = "dynamic"
OPTIMIZATION_LEVELS = range(6)  # of TensorRT's builder, in every release since 8.6
MOST = {"threads": 4096, "workspace": 1 << 24}  # far above any machine; the libraries' own counters end somewhere

ROOMS = Path(__file__).resolve().parents[2]
_TOOLS = (
    "harmonyrt", "torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "openvino", "tensorrt",
    "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13", "nncf",
)  # fmt: skip


def size_name(size: Size) -> str:
    """``"256"`` for a square, ``"256x512"`` (height x width), ``"dynamic"`` for None."""
    if size is None:
        return DYNAMIC
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


def parse_size(text: str) -> Size:
    """``"256"``, ``"256x512"`` (height x width) or ``"dynamic"``.

    Raises:
        HarmonyError: something else, or a side that the network cannot take.
    """
    if text == DYNAMIC:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() and len(side) < 9 for side in sides):
        raise HarmonyError(f"size {text!r} is not a size; give a number (256), HEIGHTxWIDTH (256x512) or {DYNAMIC}")
    for side in map(int, sides):
        if side % SIZE_MULTIPLE or not SMALLEST_SIDE <= side <= LARGEST_SIDE:
            raise HarmonyError(
                f"size {text} cannot be built; give a multiple of {SIZE_MULTIPLE}"
                f" from {SMALLEST_SIDE} to {LARGEST_SIDE}, or {DYNAMIC}"
            )
    return int(sides[0]), int(sides[-1])


def check_known(what: str, given: Sequence[str], known: Sequence[str], verdict: str = "is not known") -> None:
    """Refuse a value that is not in a list.

    Raises:
        HarmonyError: naming the value and the list.
    """
    unknown = next((value for value in given if value not in known), None)
    if unknown is not None:
        raise HarmonyError(f"{what} {unknown!r} {verdict}; choose from {', '.join(known)}")


def options_of(arguments: argparse.Namespace, **more: Any) -> BuildOptions:
    """What a command line tells target builders, with fields that only one family's options set."""
    capabilities, cache = tuple(arguments.compute_capabilities), Path(arguments.output) / ".cache"
    recorded, given = arguments.record_tactics, arguments.tactics
    if recorded is not None and given is not None:
        raise HarmonyError("--record-tactics adds to a file and --tactics adds nothing; leave one of them out")
    more |= {
        "tactics": recorded or given,
        "record_tactics": recorded is not None,
        "strip_weights": arguments.strip_weights,
    }
    return BuildOptions("", None, arguments.threads, capabilities, cache=cache, **more)


def tensorrt_facts(options: BuildOptions) -> dict[str, str | bool]:
    """What a recipe says of options that every family has: a build that uses a file depends on its content."""
    facts: dict[str, str | bool] = {"strip_weights": True} if options.strip_weights else {}
    if options.tactics is not None and options.record_tactics:
        facts["tactics"] = "recorded"
    elif options.tactics is not None:
        facts["tactics_sha256"] = file_sha256(options.tactics)
    return facts


def check_options(options: BuildOptions) -> None:
    """Refuse values that no target builder takes, whichever targets are asked for.

    Raises:
        HarmonyError: naming the option, what it was and what it can be.
    """
    for name, value in (("threads", options.threads), ("workspace", options.workspace_mib)):
        if value is not None and not 1 <= value <= MOST[name]:
            raise HarmonyError(f"--{name} {value} is not possible; give a number from 1 to {MOST[name]}")
    level = options.optimization_level
    if level is not None and level not in OPTIMIZATION_LEVELS:
        first, last = OPTIMIZATION_LEVELS[0], OPTIMIZATION_LEVELS[-1]
        raise HarmonyError(f"--optimization-level {level} is not possible; give a number from {first} to {last}")
    for text in options.compute_capabilities:
        tensorrt_versions.parse_capability(text)
    if options.tactics is not None and not options.record_tactics and not options.tactics.is_file():
        raise HarmonyError(f"--tactics {options.tactics} is not a file; record one with --record-tactics")
    if options.lean_runtime is not None and not options.version_compatible:
        raise HarmonyError("--lean-runtime opens version-compatible plans alone; add --version-compatible")
    if options.lean_runtime is not None and not options.lean_runtime.is_file():
        raise HarmonyError(
            f"--lean-runtime {options.lean_runtime} is not a file; give libnvinfer_lean.so of the installed TensorRT"
            " (the package tensorrt-lean has it)"
        )


def _only_tensorrt(options: BuildOptions) -> list[str]:
    """Options that were given and that no other target has."""
    tactics = "--record-tactics" if options.record_tactics else "--tactics"
    given = (
        (tactics, options.tactics is not None),
        ("--strip-weights", options.strip_weights),
        ("--lean-runtime", options.lean_runtime is not None),
    )
    return [name for name, is_given in given if is_given]


def check_packages(targets: set[str]) -> None:
    """Say which package is missing before anything is built. Looks, and does not import."""
    from importlib.util import find_spec

    for target in sorted(targets):
        if target in tensorrt_versions.DISPLAY_NAME:  # its package goes by several names
            tensorrt_versions.check_installed(target)
            continue
        package, extra = PACKAGE_OF_TARGET[target]
        if find_spec(package) is None:
            raise HarmonyError(
                f"target {target} needs the package {package}, which is not installed:"
                f" run pip install 'harmonyrt[{extra}]'"
            )


def split_targets(targets: Sequence[str], precision: str, size: Size) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Those that can exist in a precision, and the others with the reason; each once, in the order given."""
    reasons = {target: why_not(target, precision, size) for target in dict.fromkeys(targets)}
    possible = tuple(target for target, reason in reasons.items() if reason is None)
    return possible, tuple(Skipped(t, precision, reason) for t, reason in reasons.items() if reason is not None)


def recipes_of(
    sizes: Sequence[Size],
    precisions: Sequence[str],
    targets: Sequence[str],
    options: BuildOptions,
    make: Callable[[str, tuple[str, ...], tuple[Skipped, ...], BuildOptions], R],
) -> list[R]:
    """One recipe per size and precision, in the order given; those without any target that can exist have none.

    Args:
        sizes: of the engines.
        precisions: names of the vocabulary.
        targets: names of the vocabulary.
        options: common to all engines; their size is filled in.
        make: (precision, targets, skipped targets, options) -> recipe.

    Raises:
        HarmonyError: an option that is not possible, a package that is missing, or nothing that can exist.
    """
    check_options(options)
    kinds = [(s, p, *split_targets(targets, p, s)) for s in dict.fromkeys(sizes) for p in dict.fromkeys(precisions)]
    wanted = {target for _, _, possible, _ in kinds for target in possible}
    if not wanted:
        reasons = dict.fromkeys(f"{s.precision} for {s.target}: {s.reason}" for *_, skipped in kinds for s in skipped)
        raise HarmonyError(f"nothing to build ({'; '.join(reasons)}); give another precision or target")
    for name in _only_tensorrt(options) if "tensorrt" not in wanted else ():
        raise HarmonyError(f"{name} is for target tensorrt; add it to --targets, or leave {name} out")
    check_packages(wanted)
    return [make(precision, possible, left, replace(options, size=s)) for s, precision, possible, left in kinds]


def file_sha256(path: Path) -> str:
    """Hash of a file; one that did not change meanwhile is read once, since a UNet has gigabytes.

    Raises:
        HarmonyError: it cannot be read.
    """
    try:
        status = path.stat()
        return _sha256_of(path.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise HarmonyError(f"{path} cannot be read ({error.strerror}); make it readable") from None


@functools.lru_cache(maxsize=256)
def _sha256_of(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)


def recipe_sha256(recipe: Recipe) -> str:
    """Equal for two builds that would write the same engines: facts, versions of tools, and our own source."""
    return facts_sha256(recipe.facts())


def facts_sha256(facts: dict) -> str:
    """The same for facts that are no recipe's."""
    text = json.dumps([facts, tool_versions(), source_sha256()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def unchanged(recipe: Recipe, place: Path) -> Manifest | None:
    """The manifest of a bundle that already is what the recipe asks for, every file of it whole; None otherwise.

    A tuned bundle must also hold measurements of this machine.
    """
    try:
        bundle = open_bundle(place)
        manifest = bundle.manifest
        have = {engine.target for engine in manifest.engines} | {skipped.target for skipped in manifest.skipped}
        if manifest.recipe_sha256 != recipe_sha256(recipe) or not have.issuperset(recipe.targets):
            return None
        made = {(engine.target, engine.precision) for engine in manifest.engines}
        made |= {(skipped.target, skipped.precision) for skipped in manifest.skipped}
        if isinstance(recipe, JoinedRecipe) and not made.issuperset(recipe.pairs):
            return None
        if recipe.tune is not None and not any(m.machine == machine_name() for m in manifest.measurements):
            return None
        for engine in manifest.engines:
            bundle.verified_file(engine)
    except (HarmonyError, OSError):
        return None
    return manifest


def tool_versions() -> dict[str, str]:
    """Versions of the installed packages that can change what a build writes."""
    versions = {}
    for name in _TOOLS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def source_sha256() -> str:
    """Hash of the source that builds: what this project's version number does not tell between releases."""
    digest = hashlib.sha256()
    for room in ("models", "export", "calibration"):
        for folder, folders, files in os.walk(ROOMS / room):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(files):
                if name.endswith((".py", ".jpg", ".png")):
                    path = Path(folder, name)
                    digest.update(str(path.relative_to(ROOMS)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
