"""The GPU suite where there is no GPU: a report of skips, each with its reason."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")

from harmonyrt.benchmarks import gpu_roofline, gpu_suite
from harmonyrt.models import PHNet, PHNetConfig


def test_a_machine_without_a_gpu_writes_a_report_of_skips(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu_suite.gpu_machine, "why_no_gpu", lambda: "there is no GPU")
    monkeypatch.setattr(gpu_suite, "clocks", lambda *fields: None)
    tiny = PHNet(PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(4, 3, 2, 1))).eval()
    monkeypatch.setattr(gpu_suite.runners, "load_network", lambda path: gpu_suite.runners.Network(tiny, {}))
    output = tmp_path / "new folder" / "gpu.json"
    arguments = ["--sizes", "64", "--batches", "1", "2", "--precisions", "int8", "--output", str(output)]
    assert gpu_suite.main(arguments) == 0
    report = json.loads(output.read_text())
    assert report["kind"] == "harmonyrt-gpu-suite"
    assert report["measured"] == []
    assert report["work"]["64x2"]["flop"] == 2 * report["work"]["64x1"]["flop"]
    skipped = {entry["what"]: entry["reason"] for entry in report["skipped"]}
    assert skipped["torch eager-fp16, 64 px, batch 1"] == "there is no GPU"
    assert "no INT8 convolution" in skipped["tensorrt-rtx int8, 64 px, batch 2"]
    assert any("CUDA" in what for what in skipped)
    assert all(skipped.values())
    assert "0 measured" in capsys.readouterr().out


def test_a_used_up_budget_is_a_reason_and_not_a_failure(tmp_path):
    output = tmp_path / "gpu.json"
    assert gpu_suite.main(["--output", str(output), "--seconds", "0"]) == 0
    assert "time budget of 0 s was used up" in json.loads(output.read_text())["skipped"][0]["reason"]


def test_a_step_that_breaks_does_not_cost_the_others():
    suite = gpu_suite.Suite(100, {"skipped": []})
    done = []
    suite.run("breaks", lambda: 1 / 0)
    suite.run("works", lambda: done.append(1))
    assert done == [1]
    assert suite.report["skipped"][0]["reason"].startswith("ZeroDivisionError")


def test_a_measurement_knows_its_share_of_the_roof(monkeypatch):
    monkeypatch.setattr(gpu_suite, "clocks", lambda *fields: None)
    work = {"flop": 10**12, "elements": 10**6, "weights": 10**6}
    roofs = {"fp16_tflops": 100.0, "fp32_tflops": 10.0, "copy_gb_per_s": 1000.0}
    suite = gpu_suite.Suite(100, {"work": {"256x2": work}, "measured_roofs": roofs, "measured": []})
    suite.add("tensorrt", "fp16", 256, 2, {"latency_ms": {"p50": 20.0}})
    row = suite.report["measured"][0]
    assert (row["roof_ms"], row["share_of_roof"], row["fps"]) == (10.0, 0.5, 100.0)


def test_the_network_has_the_work_that_the_facts_say():
    assert gpu_roofline.work_of(PHNet().eval(), 256, 1).flop == pytest.approx(98.5e9, rel=1e-3)  # docs/phnet.md


@pytest.mark.parametrize(
    ("name", "bandwidth"),
    [
        ("Tesla V100-SXM2-16GB", 900),
        ("NVIDIA A100-SXM4-80GB", 2039),
        ("NVIDIA A10", 600),
        ("NVIDIA L4", 300),
        ("NVIDIA L40S", 864),
        ("NVIDIA H200", 4800),
        ("NVIDIA A100-PCIE-40GB", None),
    ],
)
def test_data_sheets_are_found_by_the_name_of_the_gpu(name, bandwidth):
    peak = gpu_roofline.peak_of(name)
    assert (peak.bandwidth if peak else None) == bandwidth
