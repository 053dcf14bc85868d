"""Opening a bundle: the manifest, and files whose hashes match it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import sha256_of
from harmonyrt.runtime.manifest import FILE_NAME, SCHEMA, EngineSpec, Manifest


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk. Engine files are verified when they are asked for, not before."""

    path: Path
    manifest: Manifest

    def verified_file(self, engine: EngineSpec) -> Path:
        """Path of the file that a backend opens, after every file of the engine proved equal to its hash.

        Raises:
            HarmonyError: a file is missing, cut short or altered.
        """
        for file in engine.files:
            path = self.path / file.path
            rebuild = f"build the bundle again ({self.path})"
            if not path.is_file():
                raise HarmonyError(f"{path} is missing from the bundle; {rebuild}")
            if not os.access(path, os.R_OK):
                raise HarmonyError(f"{path} cannot be read (permission denied); make it readable for this user")
            if path.stat().st_size != file.bytes:
                raise HarmonyError(f"{path} has {path.stat().st_size} bytes, its manifest says {file.bytes}; {rebuild}")
            try:
                found = sha256_of(path)
            except OSError as error:
                raise HarmonyError(f"{path} cannot be read ({error.strerror}); check the disk, or {rebuild}") from None
            if found != file.sha256:
                raise HarmonyError(
                    f"{path} was altered: found sha256 {found[:12]}…, need {file.sha256[:12]}…; {rebuild}"
                )
        return self.path / engine.files[0].path

    def of_precision(self, precision: str | None) -> Bundle:
        """The same bundle with its engines of one precision alone; None: the most exact one of a bundle of several.

        Raises:
            HarmonyError: it has none of that precision.
        """
        manifest = self.manifest
        if precision is None and manifest.schema == SCHEMA:
            return self
        wanted = precision or manifest.precision
        engines = tuple(engine for engine in manifest.engines if engine.precision == wanted)
        if not engines:
            found = ", ".join(manifest.precisions) or "none"
            raise HarmonyError(
                f"{self.path} has no engine of precision {wanted}: found {found}; build one with --precisions {wanted}"
            )
        return replace(self, manifest=replace(manifest, precision=wanted, engines=engines))


def open_bundle(path: str | os.PathLike) -> Bundle:
    """Read a bundle's manifest.

    Args:
        path: folder that `harmonyrt build` wrote.

    Raises:
        HarmonyError: no such folder, no manifest (an interrupted build leaves none), or a manifest that cannot be read.
    """
    try:
        path = Path(os.fsdecode(path))
        exists = path.exists()
    except (TypeError, ValueError, OSError) as error:  # no path, one with a zero byte, one that is too long
        raise HarmonyError(
            f"{path!r} was given as a bundle ({error}); give the path of a folder that `harmonyrt build` wrote"
        ) from None
    if not exists:
        raise HarmonyError(f"{path} does not exist; build it with: harmonyrt build phnet")
    manifest = path / FILE_NAME
    if path.is_file():
        raise HarmonyError(
            f"{path} is a file; give the folder that `harmonyrt build` wrote, since a file is not a bundle"
        )
    if not path.is_dir() or not manifest.is_file():
        raise HarmonyError(f"{path} is not a bundle: it has no {FILE_NAME}; give a folder that `harmonyrt build` wrote")
    try:
        text = manifest.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HarmonyError(f"{manifest} cannot be read ({error}); build the bundle again") from None
    return Bundle(path, Manifest.from_json(text, str(manifest)))
