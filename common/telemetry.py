"""Engine libraries that report their use to their makers from the moment they are imported: from here they do not.

Found in their packages: ONNX Runtime 1.31 keeps an identity and a database of events in the user's cache folder and
sends events to Microsoft, unless ORT_DISABLE_TELEMETRY is set. OpenVINO 2026.4 imports `openvino_telemetry` where it is
installed, which keeps an identity in the home folder (and fails where there is none), and sends events to Google.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

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
    if module.split(".")[0] != "openvino" or _OPENVINO in sys.modules:
        return importlib.import_module(module)
    sys.modules[_OPENVINO] = None  # type: ignore[assignment]  # Python's own way to say that a package is not there
    try:
        return importlib.import_module(module)
    finally:
        sys.modules.pop(_OPENVINO, None)
