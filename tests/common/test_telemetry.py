"""Engine libraries keep no identity of this machine and ask no other host."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from harmonyrt.common.telemetry import import_quietly

SCRIPT = """
import pathlib, socket, sys, time
asked = []
def lookup(*arguments, **options):
    asked.append(arguments[0])
    raise OSError("no network here")
socket.getaddrinfo = lookup
if {homeless}:
    def home(kind):
        raise RuntimeError("Could not determine home directory.")
    pathlib.Path.home = classmethod(home)
from harmonyrt.runtime import Harmonizer
import numpy as np
composite = np.full((40, 40, 3), 99, np.uint8)
mask = np.zeros((40, 40), np.uint8)
mask[9:20, 9:20] = 255
for backend in {backends}:
    with Harmonizer.open({bundle!r}, backend=backend, threads=1, cache="") as harmonizer:
        harmonizer.harmonize(composite, mask)
time.sleep(0.5)  # for threads that send
import os
print(asked, os.environ["ORT_DISABLE_TELEMETRY"], "openvino_telemetry" in sys.modules)
"""


def run(bundle: Path, folder: Path, *backends: str, homeless: bool = False, **more: str) -> str:
    for name in ("home", "cache"):
        (folder / name).mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "cache"), **more}
    script = SCRIPT.format(bundle=str(bundle), backends=backends, homeless=homeless)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize("homeless", [False, True])
def test_nothing_is_kept_or_sent(bundle, tmp_path, homeless):
    pytest.importorskip("openvino")
    assert run(bundle, tmp_path, "onnxruntime", "openvino", homeless=homeless) == "[] 1 False"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_who_wants_telemetry_keeps_it(bundle, tmp_path):
    assert run(bundle, tmp_path, "onnxruntime", ORT_DISABLE_TELEMETRY="0").split()[1] == "0"


@pytest.mark.parametrize("module", ["interrupted_module", "openvino.interrupted"])
def test_an_import_is_not_cut_short_by_ctrl_c(tmp_path, monkeypatch, module):
    """pybind11 makes an ImportError of it, and the package would count as not installed."""
    file = tmp_path / (module.replace(".", "/") + ".py")
    file.parent.mkdir(exist_ok=True)
    file.write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    if "." in module:
        package = types.ModuleType("openvino")
        package.__path__ = [str(file.parent)]
        monkeypatch.setitem(sys.modules, "openvino", package)
    with pytest.raises(KeyboardInterrupt):
        import_quietly(module)
    assert sys.modules.pop(module).whole
