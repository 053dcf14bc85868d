"""What a runtime thinks of a plan is one sentence with what to do."""

from __future__ import annotations

import enum
import importlib.util
import types

import pytest

from harmonyrt.runtime.backends.tensorrt import validity, versions
from harmonyrt.runtime.backends.tensorrt.log import open_log

Validity = enum.IntEnum("EngineValidity", ["VALID", "SUBOPTIMAL", "INVALID"], start=0)
BITS = ["VERSION_MISMATCH", "UNSUPPORTED_CC", "OLD_CUDA_DRIVER", "OLD_CUDA_RUNTIME", "INSUFFICIENT_GPU_MEMORY"]
Diagnostics = enum.IntEnum(
    "EngineInvalidityDiagnostics", {name: 1 << k for k, name in enumerate([*BITS, "MALFORMED_ENGINE", "CUDA_ERROR"])}
)
TRT = types.SimpleNamespace(EngineValidity=Validity, EngineInvalidityDiagnostics=Diagnostics)


def runtime(answer, bits):
    return types.SimpleNamespace(get_engine_validity=lambda buffer: (answer, bits))


def test_a_valid_plan_has_nothing_to_say():
    assert validity.ask(TRT, runtime(Validity.VALID, 0), b"plan") == (None, None)


def test_an_invalid_plan_says_every_reason():
    refusal, remark = validity.ask(TRT, runtime(Validity.INVALID, 1 | 4), b"plan")
    assert refusal.startswith("another version of TensorRT for RTX built it: build the bundle again")
    assert "the driver is too old" in refusal
    assert remark is None


def test_a_suboptimal_plan_is_opened_with_a_remark():
    assert validity.ask(TRT, runtime(Validity.SUBOPTIMAL, 0), b"plan")[0] is None
    assert "faster" in validity.ask(TRT, runtime(Validity.SUBOPTIMAL, 0), b"plan")[1]


def test_who_cannot_be_asked_or_gives_no_reason_is_left_to_opening():
    assert validity.ask(TRT, types.SimpleNamespace(), b"plan") == (None, None)
    assert validity.ask(TRT, runtime(Validity.INVALID, 0), b"plan") == (None, None)


needs_rtx = pytest.mark.skipif(
    not importlib.util.find_spec("tensorrt_rtx_bindings"),
    reason="TensorRT for RTX is not installed: pip install 'harmonyrt[tensorrt-rtx]'",
)


@needs_rtx
def test_the_real_one_knows_these_members_and_finds_a_file_that_is_no_engine():
    trt = versions.load("tensorrt-rtx")
    assert {name: int(bit) for name, bit in trt.EngineInvalidityDiagnostics.__members__.items()} == dict(
        Diagnostics.__members__
    )
    assert set(validity._REASONS) == set(Diagnostics.__members__)
    assert {name: int(v) for name, v in trt.EngineValidity.__members__.items()} == dict(Validity.__members__)
    log = open_log(trt)
    refusal, _ = validity.ask(trt, trt.Runtime(log.logger), b"no engine, but long enough for a header" * 9)
    assert "not a whole engine" in refusal
