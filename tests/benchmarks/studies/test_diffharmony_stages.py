"""The stages' benchmark: variants must agree, and the table says what the file holds."""

from __future__ import annotations

import numpy as np
import pytest

from harmonyrt.benchmarks.studies import diffharmony_stages as stages
from harmonyrt.common import HarmonyError, WorkFailed


@pytest.fixture
def answers(monkeypatch):
    """`answers({variant: value})`: variants that answer these values, without networks."""

    def give(values: dict[str, float]) -> None:
        class Opener:
            def __init__(self, *_):
                pass

            def open(self, variant):
                return lambda: np.array([1.0, values[variant]], np.float32)

        monkeypatch.setattr(stages, "Opener", Opener)

    return give


def test_variants_are_called_in_turn(answers, tmp_path):
    answers({"onnxruntime": 0.5, "pytorch": 0.5001})
    rows = stages.time_stage(tmp_path, "unet", ["onnxruntime", "pytorch"], rounds=3, threads=1)
    assert [row["form"] for row in rows] == ["onnxruntime", "pytorch"]
    assert all(len(row["seconds"]) == 3 and row["fastest"] == min(row["seconds"]) for row in rows)
    assert rows[1]["relative_difference_to_first"] == pytest.approx(1e-4, rel=1e-2)


@pytest.mark.parametrize(("variant", "value"), [("pytorch", 0.51), ("pytorch", float("nan")), ("openvino bf16", 0.7)])
def test_a_variant_that_answers_otherwise_is_not_timed(variant, value, answers, tmp_path):
    answers({"onnxruntime": 0.5, variant: value})
    with pytest.raises(WorkFailed, match=f"{variant} answers otherwise than onnxruntime"):
        stages.time_stage(tmp_path, "unet", ["onnxruntime", variant], rounds=1, threads=1)


def test_the_refiner_has_no_unspecialised_variant():
    assert "onnxruntime, unspecialised" in stages.variants_of("unet", stages.VARIANTS)
    assert "onnxruntime, unspecialised" not in stages.variants_of("refiner", stages.VARIANTS)


def test_a_folder_that_is_not_prepared(tmp_path):
    with pytest.raises(HarmonyError, match="is not prepared; run prepare"):
        stages.Opener(tmp_path, "unet", 1)


def test_the_table_keeps_runs_apart():
    """Figures of one row come from one interleaved run; a repeated run replaces the first."""

    def part(**fastest):
        variants = {"ort": "onnxruntime", "torch": "pytorch"}
        return {
            "rows": [{"stage": "unet", "form": variants[name], "fastest": value} for name, value in fastest.items()]
        }

    report = {
        "sizes": {"stages": {"unet": {"parameters": 1234567, "plain_parameters": 2345678, "onnx_bytes": 4_900_000}}},
        "time": [part(ort=3.5, torch=7.0), part(ort=3.0), part(ort=3.25, torch=6.5)],
        "memory": [{"rows": [{"stage": "unet", "form": "onnxruntime", "peak_rss_mb": 7600}]}],
    }
    assert stages.table(report)[2:] == [
        "| unet | 1,234,567 (2,345,678) | 4.9 MB | 7.6 GB | 3.25 |  | 6.50 |  |  |",
        "| unet |  |  |  | 3.00 |  |  |  |  |",
    ]
