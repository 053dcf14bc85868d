"""The lean runtime apart from a plan: a library of TensorRT's that opens version-compatible plans built without it.

A version-compatible plan carries a copy of the lean runtime of the release that built it (105 MB in 11.4). Built with
``--lean-runtime`` it carries none, and one library on the machine serves all plans of that release. That library is
code, as plans are: the manifest has its hash, and nothing with another hash is opened.

API: `IRuntime.load_runtime` of TensorRT 8.6 to 11.4: "a plan file built with VERSION_COMPATIBLE and
EXCLUDE_LEAN_RUNTIME both set and built with the same version of TensorRT as the loaded runtime library".
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import sha256_of
from harmonyrt.runtime.backends.tensorrt.log import Log
from harmonyrt.runtime.manifest import FILE_NAME

VARIABLE = "HARMONYRT_LEAN_RUNTIME"
"""Environment variable that names the library, or a folder with libraries of several releases."""
NAMES = ("libnvinfer_lean.so*", "nvinfer_lean*.dll")
NEED_NAME, NEED_SHA256 = "lean_runtime", "lean_runtime_sha256"
"""What a manifest says of it among an engine's needs: the file's name and hash."""


def needs_of(library: Path) -> dict[str, str]:
    """What the manifest says of a library that plans leave out."""
    return {NEED_NAME: library.name, NEED_SHA256: sha256_of(library)}


def is_apart(needs: Mapping[str, str]) -> bool:
    """Whether an engine with these needs was built without its lean runtime."""
    return NEED_SHA256 in needs


def installed() -> list[Path]:
    """Libraries of the package tensorrt-lean, which is not imported: that would load them."""
    spec = importlib.util.find_spec("tensorrt_lean_libs")
    folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]
    return _libraries(folders)


def find(needs: Mapping[str, str], plan: Path) -> Path:
    """The library with the hash that a manifest wants.

    Args:
        needs: of the engine.
        plan: its file, somewhere in its bundle; the library may lie in the bundle's folder or in the one above, where
            it serves all bundles.

    Returns:
        The first of: what :data:`VARIABLE` names, the bundle's folder, the one above, the package tensorrt-lean.

    Raises:
        HarmonyError: there is none, or only others.
    """
    folders = plan.resolve().parents
    bundle = next((folder for folder in folders if (folder / FILE_NAME).is_file()), folders[0])
    named = os.environ.get(VARIABLE)
    places = _libraries([Path(named)]) if named else []
    candidates = [*places, *_libraries([bundle, bundle.parent]), *installed()]
    for library in candidates:
        if _hash_of(library) == needs[NEED_SHA256]:
            return library
    others = ", ".join(f"{library} (sha256 {_hash_of(library)[:12]}…)" for library in candidates)
    raise HarmonyError(
        f"the plan was built without its lean runtime: need {needs[NEED_NAME]} of TensorRT {needs.get('version', '')}"
        f" with sha256 {needs[NEED_SHA256][:12]}…, found {others or 'none'}; install the package tensorrt-lean of that"
        f" version, or name the file in {VARIABLE}"
    )


def load(runtime: Any, library: Path, log: Log) -> Any:
    """The runtime inside a library whose hash was checked; `runtime` must outlive it.

    Raises:
        HarmonyError: TensorRT does not load it.
    """
    loaded = runtime.load_runtime(str(library))
    if loaded is None:
        raise HarmonyError(
            f"TensorRT cannot load the lean runtime {library}: {log.last_error}; it must be as old as the plan, and no"
            " newer than the installed TensorRT"
        )
    return loaded


def _libraries(places: Iterable[Path]) -> list[Path]:
    files = []
    for place in places:
        files += [place] if place.is_file() else sorted(path for name in NAMES for path in place.glob(name))
    return files


def _hash_of(library: Path) -> str:
    try:
        return sha256_of(library)
    except OSError as error:
        raise HarmonyError(
            f"{library} cannot be read ({error.strerror}); mend that, or name another in {VARIABLE}"
        ) from None
