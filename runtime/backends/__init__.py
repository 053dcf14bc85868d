"""What runs engines: one module for each inference engine, imported only when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class SessionOptions:
    """How to run an engine.

    Attributes:
        threads: CPU threads; None leaves it to the engine (all cores that the process may use).
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; None lets the backend choose and report.
        cache: folder for compiled models; None for one in the user's cache folder, ``""`` for none. See
            :mod:`harmonyrt.runtime.compiled_cache`.
        pin_threads: tie CPU threads to cores, where the backend offers it; None does not.
        streams: runs that OpenVINO is prepared to do at once, each with its share of the threads.
        provider: of ONNX Runtime on a GPU: ``"cuda"`` or ``"tensorrt"``; None for ``"cuda"``.
        provider_options: more of its options, by ONNX Runtime's names; see
            :mod:`harmonyrt.runtime.backends.onnxruntime_providers`.
    """

    threads: int | None = None
    device: str | None = None
    cache: str | None = None
    pin_threads: bool | None = None
    streams: int = 1
    provider: str | None = None
    provider_options: tuple[tuple[str, str], ...] = ()


class Session(Protocol):
    """An engine that is loaded and ready. One session belongs to one thread."""

    backend: str
    device: str

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: arrays by input name in, arrays by output name out; shapes and types as in the manifest."""
        ...

    def another(self) -> Session:
        """Open another session of the same engine: the same weights, separate buffers."""
        ...
