"""Writes the folder: graphs and plans of a bundle, composites, golden outputs, the two scripts, and the commands."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.progress import silent
from harmonyrt.export.build.bundle import bundle_being_written, check_place
from harmonyrt.export.build.gate import FP32_MAX_ABS_ERROR, FP32_RELATIVE_ERROR, LOWEST_PSNR_DB, Gate, Reference
from harmonyrt.export.phnet.verify import checked_network
from harmonyrt.export.polygraphy_kit import data_loader, gate
from harmonyrt.export.polygraphy_kit.commands import Kit, readme
from harmonyrt.export.targets import Progress
from harmonyrt.runtime.bundle import Bundle, open_bundle
from harmonyrt.runtime.manifest import EngineSpec

MARK = "gate.json"
"""The file by which a folder is known to be one of these."""
EXTRA = "polygraphy"


def write_folder(
    bundle: Path, checkpoint: Path, output: Path, progress: Progress = silent, precision: str | None = None
) -> Path:
    """Write a bundle of PHNet for Polygraphy; an older folder of this kind is replaced whole.

    Args:
        bundle: folder that `harmonyrt build` wrote.
        checkpoint: the checkpoint that it was built from, for the golden outputs.
        output: the folder to write.
        progress: told what is going on.
        precision: which engines of a bundle of several; None: the most exact ones.

    Returns:
        `output`. It needs neither the bundle nor HarmonyRT: copy it to the machine with the GPU.

    Raises:
        HarmonyError: not a bundle of PHNet, altered files, another checkpoint, no engine that Polygraphy runs, a
            missing package, or a place that is taken by something else.
    """
    opened = open_bundle(bundle).of_precision(precision)
    family = opened.manifest.model.family
    if family != "phnet":
        raise HarmonyError(f"{bundle} holds {family}; harmonyrt polygraphy is for bundles of phnet")
    graph = next((one for one in opened.manifest.engines if one.target == "onnx"), None)
    plans = [one for one in opened.manifest.engines if one.target.startswith("tensorrt")]
    if graph is None and not plans:
        has = ", ".join(sorted({one.target for one in opened.manifest.engines}))
        raise HarmonyError(f"{bundle} has no engine that Polygraphy runs: found {has}; build it with --targets onnx")
    require("polygraphy", EXTRA, "harmonyrt polygraphy")
    check_place(output, MARK)
    network = checked_network(opened, checkpoint)
    from harmonyrt.export.phnet.session import references

    progress("golden outputs of the module", None)
    expected = references(network, opened.manifest.size)
    with bundle_being_written(output, progress, MARK) as scratch:
        for engine in (*plans, *([] if graph is None else [graph])):
            _copy(opened, engine, scratch)
        names = {} if graph is None else _derived_graphs(opened, graph, checkpoint, scratch, progress)
        tensors = [] if graph is None else _tensors(scratch / graph.files[0].path)
        _write_data(scratch, opened.manifest.precision, expected, tensors)
        kit = Kit(
            opened.manifest,
            None if graph is None else graph.files[0].path,
            names.get("simulated"),
            names.get("reference"),
            tuple((one.target, one.files[0].path) for one in plans),
            _shapes(expected) if opened.manifest.size is None else None,
        )
        (scratch / "README.md").write_text(readme(kit), encoding="utf-8")
    return output


def save_outputs(path: Path, name: str, outputs: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Write outputs as Polygraphy's `--load-outputs` reads them.

    Args:
        path: JSON file.
        name: of what made them.
        outputs: arrays by name, one mapping for each call.
    """
    require("polygraphy", EXTRA, "writing outputs for Polygraphy")
    from polygraphy.comparator import RunResults
    from polygraphy.logger import G_LOGGER

    results = RunResults()
    results.add([dict(one) for one in outputs], runner_name=name)
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):  # it would print on stdout
        results.save(str(path))


def _copy(bundle: Bundle, engine: EngineSpec, folder: Path) -> None:
    bundle.verified_file(engine)
    for file in engine.files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / file.path, folder / file.path)
    Bundle(folder, bundle.manifest).verified_file(engine)


def _derived_graphs(
    bundle: Bundle, engine: EngineSpec, checkpoint: Path, folder: Path, progress: Progress
) -> dict[str, str]:
    """Graphs that make a lower precision's errors visible without a GPU.

    Returns:
        "simulated": FP32 with the typed graph's rounding (FP16, BF16), which ONNX Runtime's CPU provider leaves out;
        "reference": the FP32 graph before it was typed or quantized, whose tensors have the same names.
    """
    if engine.precision == "fp32":
        return {}
    import onnx
    import onnx_ir as ir

    from harmonyrt.export import onnx_file
    from harmonyrt.export.phnet.session import PHNetSession, simulated

    names = {"reference": "reference.onnx"}
    if engine.precision != "int8":
        names["simulated"] = "simulated.onnx"
        onnx_file.save(simulated(ir.load(folder / engine.files[0].path)), folder / names["simulated"])
    meaning = {name: bundle.manifest.model.config.get(name) for name in _meaning_fields()}
    session = PHNetSession(checkpoint, None, lambda what, share: progress(what, share), meaning)
    onnx.save(session.graph(bundle.manifest.size, engine.rewrites), folder / names["reference"])
    return names


def _meaning_fields() -> Iterator[str]:
    from harmonyrt.models.checkpoints import Meaning

    return (field.name for field in dataclasses.fields(Meaning))


def _tensors(path: Path) -> list[str]:
    """Names of what a graph's nodes write, in its order."""
    import onnx

    return [name for node in onnx.load(path, load_external_data=False).graph.node for name in node.output]


def _write_data(folder: Path, precision: str, expected: Sequence[Reference], tensors: list[str]) -> None:
    composites = {f"{name}_{i}": one.feeds[name] for i, one in enumerate(expected) for name in ("image", "mask")}
    np.savez_compressed(folder / "composites.npz", **composites)  # type: ignore[arg-type]
    save_outputs(folder / "golden.json", gate.GOLDEN, [one.outputs for one in expected])
    cases = [{"name": one.name, "extreme": one.extreme, "sha256": _sha256(one.outputs["output"])} for one in expected]
    settings = {
        "kind": "harmonyrt-polygraphy",
        "precision": precision,
        "gate": Gate(precision).sentence,
        "max_abs_error": FP32_MAX_ABS_ERROR,
        "tensor_error": FP32_RELATIVE_ERROR,
        "psnr_db": LOWEST_PSNR_DB.get(precision),
        "cases": cases,
        "tensors": tensors,
    }
    (folder / MARK).write_text(json.dumps(settings, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for script in (data_loader, gate):
        shutil.copyfile(str(script.__file__), folder / Path(str(script.__file__)).name)


def _sha256(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _shapes(expected: Sequence[Reference]) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Smallest, typical and largest shape of each input, for the profile of an engine of any size."""
    found = {}
    for name in ("image", "mask"):
        shapes = [one.feeds[name].shape for one in expected]
        found[name] = (
            tuple(min(axis) for axis in zip(*shapes, strict=True)),
            tuple(shapes[0]),
            tuple(max(axis) for axis in zip(*shapes, strict=True)),
        )
    return found
