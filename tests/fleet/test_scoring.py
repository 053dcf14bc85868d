"""Evaluation on workers gives the rows of one process."""

import gc
from pathlib import Path

import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.evaluation.iharmony4 import read_split
from harmonyrt.evaluation.measure import measure
from harmonyrt.evaluation.runs import Run
from harmonyrt.fleet.batch import Crew
from harmonyrt.fleet.scoring import EvaluateJob, evaluated

KL = Path(__file__).parents[1] / "vectors" / "hand-made-kl"


@pytest.fixture
def pairs(place):
    """Three pairs in iHarmony4's layout, of `place`'s pictures."""
    for folder in ("composite_images", "real_images"):
        Path("data", folder).mkdir(parents=True)
    Path("masks").rename("data/masks")
    for n in range(3):
        Image.open(f"composites/{n:03}.png").save(f"data/real_images/{n}.png")
        Image.open(f"composites/{n + 1:03}.png").save(f"data/composite_images/{n}_1_1.png")
        Path(f"data/masks/{n:03}.png").rename(f"data/masks/{n}_1.png")
    return read_split("data", "all")


def test_an_open_job_stays_open_and_scores_every_seed(pairs):
    run = Run(str(KL), "diffharmony", seeds=(0, 1), backend="onnxruntime", threads=1)
    do = EvaluateJob.of(run).open()
    gc.collect()
    scored = do((1, pairs[1]))
    assert scored.error is None
    assert scored.rows == measure(run, pairs[1:2]).rows


def test_a_harmonizer_stays_open_too_and_errors_come_back_as_such(pairs, bundle):
    do = EvaluateJob.of(Run(str(bundle), backend="onnxruntime")).open()
    gc.collect()
    assert do((0, pairs[0])).error is None
    pairs[1].real.write_bytes(b"no picture")
    assert isinstance(do((1, pairs[1])).error, HarmonyError)


def test_rows_are_in_the_order_of_one_process(pairs):
    run = Run(str(KL), "diffharmony", seeds=(0, 1), backend="onnxruntime", threads=1)
    told = []
    found, remarks = evaluated(EvaluateJob.of(run), pairs, Crew(workers=1), told.append)
    assert found.rows == measure(run, pairs).rows
    assert (len(told), remarks) == (3, [])
