"""Engines of TensorRT in memory: deserialised once per GPU and shared by the sessions of a process."""

from __future__ import annotations

import threading
import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from harmonyrt.common import HarmonyError, HarmonyWarning
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.tensorrt import lean, refit, validity, weight_streaming
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.backends.tensorrt.log import Log, open_log
from harmonyrt.runtime.backends.tensorrt.versions import DISPLAY_NAME
from harmonyrt.runtime.manifest import EngineSpec


@dataclass
class Plan:
    """A deserialised engine on one GPU: weights that sessions share.

    Attributes:
        runtime: what opened the engine: TensorRT's own, or the lean runtime that lies apart from the plan.
        parent: what loaded that lean runtime, else None; the last to go.
    """

    trt: ModuleType
    target: str
    engine: Any
    runtime: Any
    log: Log
    device: cuda.Cuda
    index: int
    device_name: str
    parent: Any = None


_plans: weakref.WeakValueDictionary[tuple[tuple[str, ...], int], Plan] = weakref.WeakValueDictionary()
_loading = threading.Lock()


def load_plan(path: Path, spec: EngineSpec, index: int) -> Plan:
    """Deserialise an engine, or find the one that another session of this process holds.

    Raises:
        HarmonyError: TensorRT does not open it.
    """
    with _loading:
        # Of all files: plans without weights may be the same for different weights.
        key = (tuple(file.sha256 for file in spec.files), index)
        plan = _plans.get(key)
        if plan is None:
            plan = _plans[key] = _deserialized(path, spec, index)
        return plan


def _deserialized(path: Path, spec: EngineSpec, index: int) -> Plan:
    compatible = spec.needs.get("version_compatible") == "true"
    trt, device = tensorrt_versions.load_to_run(spec.target, compatible), cuda.open_cuda()
    device.set_device(index)
    log = open_log(trt)
    if spec.target == "tensorrt" and hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(log.logger, "")
    runtime, parent = trt.Runtime(log.logger), None
    if lean.is_apart(spec.needs) and not tensorrt_versions.is_lean(trt):
        parent, runtime = runtime, lean.load(runtime, lean.find(spec.needs, path), log)
    if compatible and hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = True  # the lean runtime in such a plan; the plan's hash was checked
    data = path.read_bytes()
    refusal, remark = validity.ask(trt, runtime, data)
    if refusal is not None:
        raise HarmonyError(f"{DISPLAY_NAME[spec.target]} {trt.__version__} cannot open {path}: {refusal}")
    if remark is not None:
        warnings.warn(f"{path} runs, but not as well as it could: {remark}", HarmonyWarning, stacklevel=2)
    engine = runtime.deserialize_cuda_engine(data)
    del data
    if engine is None:
        raise HarmonyError(
            f"{DISPLAY_NAME[spec.target]} {trt.__version__} cannot open {path}: {log.last_error};"
            " build the bundle again"
        )
    if refit.is_stripped(spec.needs):
        refit.put_weights(trt, engine, path.with_name(Path(spec.files[1].path).name), log)
    weight_streaming.choose_budget(engine, device, path.name)
    return Plan(trt, spec.target, engine, runtime, log, device, index, device.name(index), parent)
