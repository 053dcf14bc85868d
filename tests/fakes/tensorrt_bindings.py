"""NVIDIA's own Python bindings of TensorRT, read without its libraries: what a release's API really is.

The bindings are small wheels (`tensorrt-cu13-bindings`, 1.3 MB); the libraries that they link against are not on
PyPI and would need a GPU. But the bindings take ten C functions from them and call none while they are imported, so
stand-ins that hold those names are enough to import the module and to read every class, signature and enumeration.
Nothing that needs TensorRT may be called on it.

`python -m fakes.tensorrt_bindings FOLDER` prints the API of the bindings in a folder as JSON: in a separate process,
since two releases, or a release and TensorRT for RTX, cannot be imported into one.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("tensorrt_bindings", "tensorrt_lean_bindings")
"""What the wheels install, the first of all of TensorRT, the second of its lean runtime."""
FOLDER_VARIABLE = "HARMONYRT_TENSORRT_BINDINGS"
"""Names a folder with one folder for each release, as `make test-tensorrt-api` unpacks them."""


def found() -> dict[str, Path]:
    """Folders with bindings by the release that they are of: what `make` fetched, and those of `FOLDER_VARIABLE`.

    None that are installed: those are of a TensorRT whose libraries are there, and the machine's own affair.
    """
    places = [Path(sys.prefix) / "tensorrt-bindings"]
    if FOLDER_VARIABLE in os.environ:
        places.append(Path(os.environ[FOLDER_VARIABLE]))
    return {folder.name: folder for place in places if place.is_dir() for folder in sorted(place.iterdir())}


def why_not() -> str | None:
    """Why no bindings can be read here; None when some can."""
    missing = [tool for tool in ("cc", "nm", "readelf") if shutil.which(tool) is None]
    if missing:
        return f"stand-ins of TensorRT's libraries need a C++ toolchain; not here: {', '.join(missing)}"
    return None if found() else "no bindings of TensorRT here: make fetches them on Linux"


def read(folder: Path, package: str = PACKAGES[0]) -> dict[str, dict]:
    """The API of the bindings in a folder.

    Returns:
        By class: ``{"members": [...]}`` of an enumeration; else by name its signatures (lists of the parameters'
        names, several for overloads), or for a property whether it can be written.
    """
    command = [sys.executable, "-m", "fakes.tensorrt_bindings", str(folder), package]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _load_stand_ins(binary: Path, scratch: Path) -> None:
    """Libraries of the names that the bindings want, with the functions that they want."""
    libraries = re.findall(r"NEEDED.*\[(libnv\S+)\]", _said("readelf", "-d", binary))
    wanted = re.findall(r" U (\w+)$", _said("nm", "-D", "--undefined-only", binary), re.MULTILINE)
    ours = [name for name in wanted if not re.match(r"_?Py|dl(open|close|sym)$", name)]
    source = scratch / "functions.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in ours))
    for library in libraries:
        path = scratch / library
        subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", path, source], check=True)
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _said(*command: object) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout


def _api_of(module: object) -> dict[str, dict]:
    classes = {name: value for name, value in vars(module).items() if inspect.isclass(value)}
    return {name: _members(value) for name, value in classes.items()}


def _members(kind: type) -> dict:
    if hasattr(kind, "__members__"):
        return {"members": sorted(kind.__members__)}
    public = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
    return {
        name: value.fset is not None if isinstance(value, property) else _signatures(name, value.__doc__ or "")
        for name, value in public.items()
        if isinstance(value, property) or callable(value)
    }


def _signatures(name: str, text: str) -> list[list[str]]:
    """pybind11 writes them into the documentation string."""
    stated = re.findall(rf"{name}\(self: [^,)]+(?:, )?(.*?)\) -> ", text)
    return sorted(re.findall(r"(?:^|, )(\w+): ", signature) for signature in stated)


def main(folder: str, package: str) -> None:
    """Print the API of the bindings in `folder`."""
    (binary,) = (Path(folder) / package).glob("tensorrt*.so")
    with tempfile.TemporaryDirectory() as scratch:
        _load_stand_ins(binary, Path(scratch))
        sys.path.insert(0, folder)
        module = importlib.import_module(package)
    print(json.dumps(_api_of(module)))


if __name__ == "__main__":
    main(*sys.argv[1:])
