"""ONNX Runtime's CUDA and TensorRT providers, as `Harmonizer.open` uses them: answers, times, and kept engines."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.benchmarks.gpu_hour import dry
from harmonyrt.benchmarks.gpu_hour.bundles import Wish, build, candidates
from harmonyrt.benchmarks.gpu_hour.hour import Hour
from harmonyrt.benchmarks.gpu_hour.soak import picture
from harmonyrt.benchmarks.timing import summarize
from harmonyrt.common import WorkFailed

WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("cuda", {"provider": "cuda"}),
    ("cuda, recorded", {"provider": "cuda", "provider_options": {"enable_cuda_graph": True}}),
    ("tensorrt", {"provider": "tensorrt"}),
    ("tensorrt, from its cache", {"provider": "tensorrt"}),
)
"""Rows, and what `Harmonizer.open` is told. The last opens what the one before it has built."""
LEAST_DB = 44.0
"""PSNR against the CPU's picture. An FP16 engine is held to 50 dB against PyTorch, and two may lie on both sides."""
_CALLS = 50
_WISH = Wish("512", "fp16", "onnx")


def run(hour: Hour) -> None:
    """One row for the bundle, one for the CPU's answer, one for each way."""
    found: dict[str, Any] = {}
    if not hour.step("a bundle for ONNX Runtime", lambda: _bundle(hour, found)):
        return
    if hour.step("the CPU's answer", lambda: _expected(found)):
        for name, wishes in WAYS:
            hour.step(name, partial(_one, hour, found, wishes), least=2 if hour.dry else 15)


def _bundle(hour: Hour, found: dict[str, Any]) -> dict[str, Any]:
    if not _candidates(hour):
        build(hour, Wish(*dry.BUNDLE) if hour.dry else _WISH, dry.checkpoint(hour))
    bundles = _candidates(hour)
    if not bundles:
        raise WorkFailed("ONNX Runtime has no bundle that runs on this GPU; part doctor says what to install")
    found["bundle"] = bundles[0]
    return {"bundle": bundles[0].name}


def _candidates(hour: Hour) -> list[Path]:
    return [path for path, target in candidates(hour) if target == "onnx"]


def _expected(found: dict[str, Any]) -> None:
    from harmonyrt.runtime import Harmonizer

    found["pair"] = picture(512, 512)
    with Harmonizer.open(found["bundle"], backend="onnxruntime", device="cpu") as harmonizer:
        found["picture"] = harmonizer.harmonize(*found["pair"])


def _one(hour: Hour, found: dict[str, Any], wishes: dict[str, Any]) -> dict[str, Any]:
    """A dry run has no such providers and uses the CPU's for each."""
    from harmonyrt.runtime import Harmonizer

    wanted = {"device": "cpu"} if hour.dry else {"device": "cuda", "cache": str(hour.output / "cache"), **wishes}
    begun = time.perf_counter()
    with Harmonizer.open(found["bundle"], backend="onnxruntime", **wanted) as harmonizer:
        made = harmonizer.harmonize(*found["pair"])
        first = time.perf_counter() - begun
        whole, engine = [], []
        for _ in range(2 if hour.dry else _CALLS):
            begun = time.perf_counter()
            again = harmonizer.harmonize(*found["pair"])
            whole.append(1000 * (time.perf_counter() - begun))
            engine.append(1000 * harmonizer.timings.engine)
            if hour.left < 5:
                break
        info = harmonizer.info
    decibels = psnr(made, found["picture"])
    if decibels < LEAST_DB:
        raise WorkFailed(f"its picture is {decibels:.1f} dB from the CPU's, {LEAST_DB:.0f} dB is the least")
    if not np.array_equal(made, again):
        raise WorkFailed("the same picture gave other bytes in a later call")
    return {
        "backend": info.backend,
        "device": info.device,
        "psnr_db": round(decibels, 1),
        "to_first_picture_s": round(first, 2),
        "whole_ms_p50": summarize(whole).p50,
        "engine_ms_p50": summarize(engine).p50,
    }


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    """PSNR of two pictures of 8 bits in dB, at most 200."""
    error = float(np.mean((found.astype(np.float64) - expected) ** 2))
    return 200.0 if error == 0 else min(200.0, 10 * float(np.log10(255**2 / error)))
