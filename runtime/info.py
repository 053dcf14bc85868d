"""What a `Harmonizer` says about itself: what was opened, and where a call's time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harmonyrt.runtime.manifest import Parity


@dataclass(frozen=True)
class Info:
    """What was opened.

    Attributes:
        bundle: the bundle's folder.
        model: family, for example ``"phnet"``.
        config: the network's configuration.
        parameters: how many the network has.
        random_weights: the weights are not trained: good for timing, not for pictures.
        target: of the engine that runs, for example ``"onnx"``.
        precision: ``"fp32"``, ``"fp16"``, ``"bf16"`` or ``"int8"``.
        backend: what runs it: ``"onnxruntime"``, ``"openvino"`` or ``"tensorrt"``.
        device: where: ``"cpu"`` or ``"cuda:0"``.
        threads: CPU threads that were asked for; None for all cores that the process may use.
        sessions: how many calls the engine works on at once; others wait.
        size: (height, width) of the engine; None when it takes any multiple of `size_multiple`.
        size_multiple: see `size`.
        parity: distance to the PyTorch module, as measured by the build.
        why: why this backend was chosen.
        skipped: what was passed over: (what, why).
        native: the engine's large convolutions run in the kernels of :mod:`harmonyrt.runtime.native`.
    """

    bundle: str
    model: str
    config: dict[str, Any]
    parameters: int
    random_weights: bool
    target: str
    precision: str
    backend: str
    device: str
    threads: int | None
    sessions: int
    size: tuple[int, int] | None
    size_multiple: int
    parity: Parity
    why: str
    skipped: tuple[tuple[str, str], ...]
    native: bool = False


@dataclass(frozen=True)
class Timings:
    """Seconds that a call spent: before the engine, in it (waiting for a free session included), after it."""

    fit: float = 0.0
    engine: float = 0.0
    carry_back: float = 0.0
