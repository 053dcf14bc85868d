"""Engines whose weights need not all be on the GPU: what does not fit stays on the host and is copied while it runs.

Engines built with `--weight-streaming` can do that (TensorRT from 10.1, TensorRT for RTX); DiffHarmony's UNet, 1.6 GB
in FP16, is the one it is for. Streaming costs time in every run, so it is used only where the weights do not fit.

API: `ICudaEngine` of TensorRT 10.1 to 11.4: a budget of `streamable_weights_size`, the default, streams nothing, and it
has to be set before an execution context exists.
"""

from __future__ import annotations

import logging
from typing import Any

from harmonyrt.runtime.backends import cuda

_KEPT_FREE = 0.25
"""Share of the free memory that is left for activations and for others."""

log = logging.getLogger("harmonyrt.runtime")


def choose_budget(engine: Any, device: cuda.Cuda, name: str) -> int | None:
    """Keep all weights on the GPU where they fit; else let TensorRT choose how many.

    Args:
        engine: just deserialised, without execution contexts.
        device: the GPU, current in this thread.
        name: of the engine, for the log.

    Returns:
        The budget in bytes that was set; None where nothing was to be decided.
    """
    streamable = getattr(engine, "streamable_weights_size", 0)
    if not streamable or not hasattr(engine, "weight_streaming_budget_v2"):
        return None
    free, _ = device.memory()
    if streamable <= free * (1 - _KEPT_FREE):
        engine.weight_streaming_budget_v2 = streamable
        return streamable
    budget = engine.get_weight_streaming_automatic_budget()
    engine.weight_streaming_budget_v2 = budget
    log.warning(
        "%s: its weights, %d MB, do not fit into the GPU's free %d MB: %d MB stay there, the rest is streamed, which is"
        " slower; free the GPU's memory for full speed",
        *(name, streamable // 10**6, free // 10**6, budget // 10**6),
    )
    return budget
