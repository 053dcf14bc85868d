"""Bundles with another manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harmonyrt.runtime.machine import cores, machine_name


def altered_copy(bundle: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a bundle in a folder, of the bundle's name, whose manifest's JSON was changed in place."""
    copy = folder / bundle.name
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def measured(backend, target, milliseconds, machine=None, threads=None, precision=None):
    """A row of a manifest's `measurements`, of this machine unless told otherwise."""
    return {
        "backend": backend,
        "target": target,
        "threads": threads or cores(),
        "milliseconds": milliseconds,
        "machine": machine or machine_name(),
        **({} if precision is None else {"precision": precision}),
    }
