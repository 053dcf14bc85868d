"""Both wheels in a fresh environment: native engines against plain ones, and a package of another version.

    PYTHONPATH=tests python runtime/native/tests/fresh_environment.py FOLDER HARMONYRT.whl HARMONYRT_NATIVE.whl

Run by wheel.sh, with a Python that has the `dev` extra: it makes the engines. What opens them has what a user has.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[3]
OPENER = """
import json, sys
import numpy as np
from harmonyrt.common import HarmonyError
from harmonyrt.runtime import Harmonizer, native

def pictures(bundle, backend):
    rng = np.random.default_rng(0)
    composite, mask = rng.integers(0, 256, (64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    mask[8:40, 16:60] = 255
    try:
        with Harmonizer.open(bundle, backend=backend, cache="") as harmonizer:
            return harmonizer.harmonize(composite, mask).tolist(), harmonizer.info.native
    except HarmonyError as error:
        return str(error), None

asked = json.loads(sys.argv[1])
print(json.dumps([(str(native.library(backend)), *pictures(bundle, backend)) for bundle, backend in asked]))
"""


def main(folder: Path, ours: Path, kernels: Path) -> None:
    """Raise AssertionError where the two wheels do not work together as they should."""
    from fakes.native_engines import TARGET, bundle_of, small_graph  # of the tests, which a wheel does not have

    bundles = {
        (backend, rewritten): bundle_of(small_graph(rewritten), backend, folder / f"{backend}-{rewritten}")
        for backend in TARGET
        for rewritten in (True, False)
    }
    place = folder / "environment"
    venv.create(place, with_pip=True)
    python = place / "bin/python"
    install = [python, "-m", "pip", "install", "-qq", "-c", ROOT / "constraints.txt", ours, f"{kernels}[openvino]"]
    subprocess.run(list(map(str, install)), check=True)

    asked = [(str(path), backend) for (backend, _), path in bundles.items()]
    pictures = {}
    for (backend, rewritten), (library, picture, native) in zip(bundles, opened(python, asked), strict=True):
        assert library.startswith(str(place)), f"the library for {backend} is {library}, not the wheel's"
        assert native == rewritten, f"{backend}: {picture if native is None else native}"
        pictures[backend, rewritten] = picture
        print(f"{backend}, {'native' if rewritten else 'plain'} engine: fine")
    for backend in TARGET:
        levels = np.abs(np.subtract(pictures[backend, True], pictures[backend, False])).max()
        assert levels <= 1, f"{backend}: native and plain engines differ by {levels} levels"

    (metadata,) = place.glob("lib/python*/site-packages/harmonyrt_native-*.dist-info/METADATA")
    metadata.write_text(re.sub(r"(?m)^Version: .*$", "Version: 0.0.1", metadata.read_text()))
    for (backend, rewritten), (_, said, native) in zip(bundles, opened(python, asked), strict=True):
        assert (native is None) == rewritten, f"{backend}: opened with a package of another version"
        assert not rewritten or "harmonyrt-native 0.0.1 is installed next to harmonyrt" in said, said
    print("a package of another version: refused, with what to do")


def opened(python: Path, asked: list[tuple[str, str]]) -> list[tuple[str, list | str, bool | None]]:
    """For each bundle and backend: path of the library, the picture or what was said, and whether it was native."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HARMONYRT", "PYTHON"))}
    command = [str(python), "-c", OPENER, json.dumps(asked)]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True, cwd=python.parent)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
