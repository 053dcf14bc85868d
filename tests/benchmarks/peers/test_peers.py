"""Peers in their own processes on a tiny network: pixels checked, absences named. No assertion is on a time."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from harmonyrt.benchmarks.cases import Case, inputs, load
from harmonyrt.benchmarks.compare import Budget, measure
from harmonyrt.benchmarks.peers import convert
from harmonyrt.benchmarks.peers.libraries import PEERS
from harmonyrt.benchmarks.peers.report import behind_ours, pixels, report
from harmonyrt.benchmarks.report.tables import tables
from harmonyrt.benchmarks.results import finished_run, read, write
from harmonyrt.common import HarmonyError, WorkFailed

QUICK = Budget(rounds=2, seconds=0, least=1, burn_in_seconds=0)
HERE = [peer for peer in PEERS if not peer.apart]


@pytest.fixture(scope="module")
def run(bundle):
    onnx = str(bundle / "model.onnx")
    left_out = {}
    sides = [
        Case("engine", str(bundle), 32, 32, threads=1, backend="onnxruntime"),
        Case("peer", onnx, 32, 32, threads=1, mode="onnxruntime plain", python=sys.executable),
        Case("peer", onnx, 32, 32, threads=1, mode="ncnn FP32", python=sys.executable),
        Case("peer", onnx, 32, 32, threads=1, mode="onnxruntime plain"),
    ]
    measured = measure(sides, QUICK, on_failure=lambda case, why: left_out.update({case.mode: why}))
    return finished_run("peers-32-1t", "make bench-peers", QUICK, measured, left_out)


@pytest.mark.parametrize("peer", HERE, ids=lambda peer: peer.name)
def test_libraries_that_we_run_on_answer_as_the_network_does(peer, bundle):
    pytest.importorskip(peer.library)
    case = Case("peer", str(bundle / "model.onnx"), 32, 32, threads=1, mode=peer.name)
    loaded = load(case)
    loaded.call()
    image, _ = inputs(case)
    tolerance = 0.01 if loaded.about["precision"] == "bf16" else 1e-5
    np.testing.assert_allclose(loaded.output(), 0.9 * image, atol=tolerance)
    assert loaded.about["version"]


def test_a_peer_that_cannot_run_is_left_out_with_its_reason(run):
    assert [m.about["backend"] for m in run.measured] == ["onnxruntime"] * 3
    assert list(run.left_out) == ["ncnn FP32"]
    assert "ncnn does not run model.onnx" in run.left_out["ncnn FP32"]


def test_without_a_listener_and_for_the_baseline_a_failure_ends_the_run(bundle, tmp_path):
    missing = Case("peer", str(tmp_path / "none.onnx"), 32, 32, mode="onnxruntime plain")
    ours = Case("engine", str(bundle), 32, 32, threads=1, backend="onnxruntime")
    with pytest.raises(HarmonyError, match="does not exist"):
        measure([ours, missing], QUICK)
    with pytest.raises(HarmonyError, match="does not exist"):
        measure([missing, ours], QUICK, on_failure=lambda case, why: None)


def test_unknown_peers_are_refused(bundle):
    with pytest.raises(HarmonyError, match="give one of onnxruntime plain"):
        load(Case("peer", str(bundle / "model.onnx"), 32, 32, mode="other"))


def test_runs_with_peers_survive_their_file_and_come_into_the_tables(run, tmp_path):
    write(run, tmp_path / "peers-32-1t.json")
    assert read(tmp_path / "peers-32-1t.json") == run
    text = tables(tmp_path)
    assert "### Peers at 32 px" in text
    assert report([run]) in text
    assert "Left out: ncnn FP32: " in text


def test_wrong_pixels_are_a_row_that_says_so(run):
    ours, peer, _ = run.measured
    assert pixels(ours) == "the reference"
    assert pixels(peer).endswith(" dB")
    wrong = dataclasses.replace(peer, psnr_to_first_db=31.4)
    assert pixels(wrong) == "31.4 dB, WRONG: under 80 dB"
    assert pixels(dataclasses.replace(wrong, psnr_to_first_db=None)) == "another shape"
    assert "WRONG" in report([dataclasses.replace(run, measured=(ours, wrong))])


def test_peers_are_compared_with_our_engine_of_their_precision(run):
    ours, peer, _ = run.measured
    slower = dataclasses.replace(peer, samples=tuple(tuple(3 * s for s in turn) for turn in ours.samples))
    assert behind_ours(slower, run).median == pytest.approx(3)
    assert behind_ours(ours, run) is None
    half = dataclasses.replace(ours.latency, p50=ours.latency.p50 / 2)
    faster = dataclasses.replace(ours, samples=tuple(tuple(s / 2 for s in turn) for turn in ours.samples), latency=half)
    with_native = dataclasses.replace(run, measured=(ours, faster, slower))
    assert behind_ours(slower, with_native).median == pytest.approx(6)  # the fastest of ours
    lower = dataclasses.replace(slower, about={**slower.about, "precision": "bf16"})
    assert behind_ours(lower, run) is None  # no engine of ours has it here


def test_the_halving_of_masks_becomes_an_operation_that_ncnn_has():
    param = "7767517\n2 2\nInput in1 0 1 in1\nTensor.slice  Tensor.slice_1  1 1 in1 5 0=1\n"
    assert convert.without_slices(param).splitlines()[2:] == [
        "Input in1 0 1 in1",
        "Interp Tensor.slice_1 1 1 in1 5 0=1 1=0.5 2=0.5",
    ]


def test_converters_that_are_missing_or_fail_say_what_they_said(tmp_path, monkeypatch):
    monkeypatch.setattr(convert.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(WorkFailed, match="mnnconvert did not convert"):
        convert.convert("MNN", Path("none"), Path("none"), 32, tmp_path)
    (tmp_path / "mnnconvert").write_text("#!/bin/sh\necho no such operator >&2\nexit 3\n")
    (tmp_path / "mnnconvert").chmod(0o755)
    with pytest.raises(WorkFailed, match="code 3: no such operator"):
        convert.convert("MNN", Path("none"), Path("none"), 32, tmp_path)
    (tmp_path / "mnnconvert").write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(WorkFailed, match=r"left no model\.mnn"):
        convert.convert("MNN", Path("none"), Path("none"), 32, tmp_path)
