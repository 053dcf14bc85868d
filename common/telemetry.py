"""Importing engine libraries: without reports to their makers, and whole or not at all.

Found in their packages: ONNX Runtime 1.31 keeps an identity and a database of events in the user's cache folder and
sends events to Microsoft, unless ORT_DISABLE_TELEMETRY is set. OpenVINO 2026.4 imports `openvino_telemetry` where it is
installed, which keeps an identity in the home folder (and fails where there is none), and sends events to Google.

Ctrl-C in the middle of such an import comes out as an ImportError (pybind11 makes one of whatever a module raises while
it is imported), as if the package were not installed. So signals wait for its end.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from harmonyrt.common.signals import held_signals

_OPENVINO = "openvino_telemetry"

# Here and not in a function: ONNX Runtime reads it when it is imported, by whatever part of the program. Who has set it
# keeps that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def import_quietly(module: str) -> ModuleType:
    """Import a package; OpenVINO without its telemetry, in whose place it has an empty stand-in of its own.

    Args:
        module: its dotted name.

    Raises:
        ImportError: as `importlib.import_module` does.
    """
    if module in sys.modules:
        return importlib.import_module(module)
    with held_signals():
        if module.split(".")[0] != "openvino" or _OPENVINO in sys.modules:
            return importlib.import_module(module)
        sys.modules[_OPENVINO] = None  # type: ignore[assignment]  # Python's own way to say that a package is not there
        try:
            return importlib.import_module(module)
        finally:
            sys.modules.pop(_OPENVINO, None)
