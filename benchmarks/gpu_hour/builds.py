"""PHNet's engines for every target; a build keeps an engine only if it passed its gate on this GPU.

A flavour that does not run on this GPU is not built size by size. TensorRT for RTX builds for other GPUs anyway, so one
engine of it is built, and asked what it says of this one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from harmonyrt.benchmarks.gpu_hour import dry
from harmonyrt.benchmarks.gpu_hour.bundles import Wish, build, wishes
from harmonyrt.benchmarks.gpu_hour.hour import Hour, NotHere
from harmonyrt.benchmarks.gpu_hour.records import ABSENT
from harmonyrt.benchmarks.gpu_machine import why_not_on_this_gpu
from harmonyrt.common import HarmonyError, WorkFailed

_SECONDS = 45
RTX = "tensorrt-rtx"


def run(hour: Hour) -> None:
    """One row for each size, precision and target, and one for a flavour's own word on a GPU that it does not name."""
    checkpoint = dry.checkpoint(hour)
    refused: set[str] = set()
    for wish in [Wish(*dry.BUNDLE)] if hour.dry else wishes():
        reason = why_not_on_this_gpu(wish.target)
        if reason is not None and (wish.target != RTX or wish.target in refused):
            hour.add(wish.name, ABSENT, reason)
            continue
        built = hour.step(wish.name, partial(build, hour, wish, checkpoint), least=5 if hour.dry else _SECONDS)
        if reason is not None:
            refused.add(wish.target)
            if built:
                hour.step(f"{RTX} asked about this GPU", lambda: _asked(hour))


def _asked(hour: Hour) -> dict[str, Any]:
    """What the library itself answers about an engine that is not for this GPU.

    Raises:
        NotHere: it refuses, and says why.
        WorkFailed: it takes the engine, although NVIDIA's list does not have this GPU.
    """
    from harmonyrt.runtime.backends.tensorrt import validity
    from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
    from harmonyrt.runtime.backends.tensorrt.log import open_log

    trt = tensorrt_versions.load(RTX)
    plans = sorted(hour.bundles.glob(f"*/{RTX}-*.engine"))
    if not plans:
        raise HarmonyError("the build left no engine to ask about")
    log = open_log(trt)
    refusal, remark = validity.ask(trt, trt.Runtime(log.logger), plans[-1].read_bytes())
    if refusal is None:
        raise WorkFailed(f"it says that {plans[-1].name} runs here ({remark or 'without a remark'}): look into it")
    raise NotHere(f"it refuses {plans[-1].name}: {refusal}")
