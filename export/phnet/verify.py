"""`harmonyrt verify`: a bundle that was built before, or elsewhere, is measured against its checkpoint again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import sha256_of
from harmonyrt.export.build.gate import Gate, Reference, measure
from harmonyrt.export.build.running import open_engine
from harmonyrt.export.phnet.session import references
from harmonyrt.runtime.bundle import Bundle, open_bundle
from harmonyrt.runtime.manifest import EngineSpec, Manifest, Parity

Keep = Callable[[EngineSpec | None, Sequence[Mapping[str, np.ndarray]]], None]
"""Told what an engine (None: the module) answered: arrays by output name for each composite, in the gate's order."""


@dataclass(frozen=True)
class EngineCheck:
    """What `harmonyrt verify` found of one engine: its parity now, or why it could not be measured here.

    Attributes:
        engine: what the manifest says, its parity at build time included.
        parity: measured now; None where this machine cannot run the engine or the gate could not be measured.
        problem: why it failed, as a sentence; None when all is well.
        note: why there is no parity although nothing failed; None otherwise.
    """

    engine: EngineSpec
    parity: Parity | None
    problem: str | None = None
    note: str | None = None


def checked_network(bundle: Bundle, checkpoint: str | Path) -> Any:
    """The module that a bundle of PHNet was built from, in eval mode.

    Args:
        bundle: an open bundle.
        checkpoint: the checkpoint that it was built from.

    Raises:
        HarmonyError: a checkpoint that cannot be loaded, or another one than the bundle's.
    """
    from harmonyrt.models.checkpoints import Meaning, open_phnet

    need = bundle.manifest.model.checkpoint_sha256
    config = bundle.manifest.model.config
    built = Meaning(*(config.get(field.name) for field in dataclasses.fields(Meaning)))
    network = open_phnet(checkpoint, built).network
    if (found := sha256_of(checkpoint)) != need:
        raise HarmonyError(
            f"{bundle.path} was built from another checkpoint: found sha256 {found[:12]}… in {checkpoint}, need"
            f" {need[:12]}… ({bundle.manifest.model.checkpoint}); give that one with --checkpoint"
        )
    return network


def verify_bundle(
    path: str | Path,
    checkpoint: str | Path,
    threads: int | None = None,
    keep: Keep | None = None,
    *,
    device: str | None = None,
    provider: str | None = None,
) -> list[EngineCheck]:
    """Prove a bundle of PHNet again: every file's hash, then every engine's parity with the module of its checkpoint.

    Args:
        path: folder that `harmonyrt build` wrote.
        checkpoint: the checkpoint that it was built from.
        threads: CPU threads; None for all.
        device: run engines there, as :meth:`harmonyrt.runtime.Harmonizer.open` takes it; None: each backend's choice.
        provider: of ONNX Runtime on a GPU, likewise; other engines do not run then.
        keep: called with the module's answers (engine None), then with those of each engine that ran here.

    Returns:
        One result per engine, in the order of the manifest.

    Raises:
        HarmonyError: not a bundle, altered files, another checkpoint, or no engine that runs on the device that was
            asked for.
    """
    bundle = open_bundle(path)
    files = [bundle.verified_file(engine) for engine in bundle.manifest.engines]
    network = checked_network(bundle, checkpoint)
    expected = references(network, bundle.manifest.size)
    if keep is not None:
        keep(None, [one.outputs for one in expected])
    asked = {name: value for name, value in (("device", device), ("provider", provider)) if value is not None}
    checks = [
        _check(file, engine, bundle.manifest, expected, threads, keep, asked)
        for file, engine in zip(files, bundle.manifest.engines, strict=True)
    ]
    if asked and all(check.parity is None and check.problem is None for check in checks):
        wish = " and ".join(f"{name} {value}" for name, value in asked.items())
        why = "; ".join(f"{check.engine.target}: {check.note}" for check in checks)
        raise HarmonyError(f"{wish} was asked for, and no engine of {path} was checked: {why}")
    return checks


def _check(
    file: Path,
    engine: EngineSpec,
    manifest: Manifest,
    expected: list[Reference],
    threads: int | None,
    keep: Keep | None,
    asked: Mapping[str, str],
) -> EngineCheck:
    opened, who = open_engine(file, engine, manifest, threads, **asked)
    if opened is None:
        return EngineCheck(engine, None, note=f"its files are whole; not run: {who}")
    run = opened
    answers: list[dict[str, np.ndarray]] = []

    def remembered(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answer = run(feeds)
        answers.append({name: array.copy() for name, array in answer.items()})  # a backend may use its memory again
        return answer

    gate, parity = Gate(engine.precision), None
    try:
        distance = measure(run if keep is None else remembered, expected, gate, who)
        parity = gate.parity(distance, who)
        gate.check(distance, who)
    except WorkFailed as error:
        return EngineCheck(engine, parity, problem=str(error))
    finally:
        if keep is not None and answers:
            keep(engine, answers)
    return EngineCheck(engine, parity)
