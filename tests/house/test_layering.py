"""Who may import whom (docs/architecture.md), and that every module imports without optional packages."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "common": set(),
    "weights": set(),
    "models": {"common"},
    "runtime": {"common"},
    "evaluation": {"common", "runtime"},
    "calibration": {"common", "runtime"},
    "export": {"common", "runtime", "models", "calibration"},
    "serving": {"common", "runtime"},
    "fleet": {"common", "runtime", "serving", "evaluation"},
    "video": {"common", "runtime"},
    "training": {"common", "models", "evaluation", "runtime"},
    "benchmarks": {"common", "runtime", "evaluation", "models", "export", "fleet", "video"},
    "cli": {
        *("common", "runtime", "evaluation", "calibration"),
        *("export", "training", "benchmarks", "serving", "video", "fleet"),
    },
}
PARTS_FOR_TRAINING = {"evaluation": "harmonyrt.evaluation.metrics", "runtime": "harmonyrt.runtime.images"}
GROUND_OF_RUNTIME = {
    *("caller", "compiled_cache", "cpu_probe", "cpu_speed", "forks", "machine", "manifest", "native"),
    *("native_calls", "openvino_core", "pools", "resample"),
}
# Rooms inside rooms: what each may import of the room that it is in. Modules of the ground floor import no inner room.
INNER_ROOMS = {
    "runtime": {
        "images": GROUND_OF_RUNTIME,  # files, colours and masks know no engine,
        "backends": GROUND_OF_RUNTIME,  # and engines know no picture
        "diffusion": {*GROUND_OF_RUNTIME, "backends", "bundle", "choices", "select"},
        "kernels": {*GROUND_OF_RUNTIME, "backends", "colour_maps"},
        **dict.fromkeys(sorted(GROUND_OF_RUNTIME), GROUND_OF_RUNTIME),
    },
    "benchmarks": {
        "report": {"cases", "compare", "peers", "plot", "results"},
        "peers": {"cases", "compare", "results"},
        **{module: {"cases", "clocks", "compare", "results", "timing"} for module in ("compare", "results", "worker")},
    },
}
# Nothing imports these: they are for people to run.
FOR_PEOPLE = ("harmonyrt.benchmarks.studies.", "harmonyrt.benchmarks.report.")
# What a room may import besides the standard library, numpy and its own house; anything inside a function is free.
TORCH_ROOMS = ("models", "training", "export", "calibration", "benchmarks")
OPTIONAL = [
    "tensorrt",
    "tensorrt_rtx",
    "tensorrt_rtx_bindings",
    "openvino",
    "diffusers",
    "transformers",
    "cuda",
    "nncf",
    "polygraphy",
    "onnx_graphsurgeon",
    "tifffile",
    "imagecodecs",
    "simplejpeg",
    "skimage",
    "av",
    "fastapi",
    "starlette",
    "uvicorn",
    "python_multipart",
    "prometheus_client",
    "ray",
    "pyarrow",
    "fsspec",
]
BUILD_ONLY = ["torch", "onnx", "onnxscript", "safetensors", "matplotlib", "psutil"]


def rooms() -> list[str]:
    return sorted(p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists())


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@functools.cache
def imported(path: Path) -> set[str]:
    """Dotted names of this house that a file imports, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("harmonyrt.")}


def test_every_room_is_known():
    assert set(rooms()) <= set(MAY_IMPORT), "a new room needs a place in MAY_IMPORT"


@pytest.mark.parametrize("room", rooms())
def test_room_imports_only_the_rooms_below_it(room):
    for path in files(room):
        for name in imported(path):
            other = name.split(".")[1]
            assert other == room or other in MAY_IMPORT[room], f"{path}: {name}"
            if room == "training" and other in PARTS_FOR_TRAINING:
                assert name.startswith(PARTS_FOR_TRAINING[other]), f"{path}: {name}"


def inner(path: Path, room: str) -> str:
    """The part of a room that a file belongs to: an inner room, or a module."""
    parts = path.relative_to(ROOT / room).parts
    return parts[0] if len(parts) > 1 else path.stem


@pytest.mark.parametrize(("room", "part"), [(room, part) for room, parts in INNER_ROOMS.items() for part in parts])
def test_inner_room_imports_only_what_is_below_it(room, part):
    own = [path for path in files(room) if inner(path, room) == part]
    assert own, f"there is no {room}/{part}"
    for path in own:
        for name in imported(path):
            other = name.split(".")[2] if name.startswith(f"harmonyrt.{room}.") else part
            assert other == part or other in INNER_ROOMS[room][part], f"{path}: {name}"


def test_reports_and_studies_are_imported_by_nothing_but_themselves():
    for room in rooms():
        for path in files(room):
            for name in imported(path):
                there = next((start for start in FOR_PEOPLE if name.startswith(start)), None)
                assert there is None or module_name(path).startswith(there), f"{path}: {name}"


def test_verbs_leave_graphs_to_the_rooms_that_make_them():
    graphs = ("to_onnx", "to_openvino", "rewrites", "precision", "tensorrt_engine")
    for path in files("cli"):
        for name in imported(path):
            assert not name.startswith("harmonyrt.export.") or not set(name.split(".")) & set(graphs), f"{path}: {name}"


def test_runtime_never_names_torch():
    for path in files("runtime"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            assert not any(m.split(".")[0] in ("torch", "onnx", "diffusers") for m in modules), path


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("harmonyrt", *(parts[:-1] if parts[-1] == "__init__" else parts)))


@pytest.mark.parametrize(
    ("with_torch", "blocked"),
    [pytest.param(True, OPTIONAL, marks=pytest.mark.slow), (False, OPTIONAL + BUILD_ONLY)],
)
def test_modules_import_without_optional_packages(with_torch, blocked):
    """In one process for the rooms that need torch, and in one for those that must not."""
    modules = [module_name(p) for r in rooms() if (r in TORCH_ROOMS) == with_torch for p in files(r)]
    script = textwrap.dedent(f"""
        import importlib, sys
        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {blocked!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
        sys.meta_path.insert(0, Block())
        for name in {modules!r}:
            importlib.import_module(name)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_modules_import_each_other_in_a_circle():
    """Not inside functions either: who imports whom is read from top to bottom."""
    paths = {module_name(path): path for room in rooms() for path in files(room)}
    graph = {}
    for name, path in paths.items():
        found = {other if other in paths else other.rpartition(".")[0] for other in imported(path)}
        graph[name] = found & paths.keys() - {name}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names them


def test_no_export_file_is_named_after_a_package():
    """`export/` is on sys.path while its script runs: export/onnx.py would hide the package."""
    taken = {"onnx", "tensorrt", "tensorrt_rtx", "openvino", "torch", "onnxruntime", "numpy", "onnxscript"}
    assert not taken & {p.stem for p in files("export")}
