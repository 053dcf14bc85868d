"""Named protocols on bundles: what is opened, what fits and what is refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.evaluation import measure as measuring
from harmonyrt.evaluation.iharmony4 import read_split
from harmonyrt.evaluation.measure import ScoresFile, measure
from harmonyrt.evaluation.runs import PROTOCOLS, Run, opened


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if not name.startswith("diffharmony")])
def test_phnets_protocols_run(bundle, data, protocol):
    measured = measure(Run(str(bundle), protocol, backend="onnxruntime"), read_split(data))
    assert len(measured.rows) == 5
    assert {row.subset for row in measured.rows} == {"one", "two"}
    assert all(np.isfinite(row.after.psnr) for row in measured.rows)
    assert measured.about.model == "phnet"
    assert measured.about.size == {"harmonyrt": 256, "phnet": (32, 32)}.get(protocol)


@pytest.mark.parametrize("protocol", ["diffharmony", "diffharmony-strict"])
def test_diffharmonys_protocols_run_with_and_without_the_refiner(kl_bundle, data, protocol):
    pairs = read_split(data)[:2]
    found = {}
    for refiner in (True, False):
        run = Run(str(kl_bundle), protocol, refiner=refiner, backend="onnxruntime", threads=1)
        found[refiner] = measure(run, pairs)
        assert found[refiner].about.inference == (64, 64)
        assert found[refiner].about.size == (32, 32)
        assert found[refiner].about.refined is refiner
    before = [[row.before for row in one.rows] for one in found.values()]
    after = [[row.after for row in one.rows] for one in found.values()]
    assert before[0] == before[1]
    assert after[0] != after[1]
    assert found[True].rows[0].after.bmse == 0  # the real background is put back


def test_seeds_are_passes_that_differ_and_repeat(kl_bundle, data):
    run = Run(str(kl_bundle), "diffharmony", seeds=(0, 1), backend="onnxruntime", threads=1)
    pairs = read_split(data)[:2]
    rows = measure(run, pairs).rows
    assert [row.seed for row in rows] == [0, 0, 1, 1]
    assert rows[0].after != rows[2].after
    assert measure(run, pairs).rows == rows


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"protocol": "diffharmony"}, "holds a phnet, and the protocol diffharmony is for diffharmony"),
        ({"seeds": (1,)}, "leave --seeds out"),
        ({"refiner": True}, "no refiner; leave --refiner out"),
        ({"protocol": "phnet", "size": 64}, "takes 32x32; leave --size out"),
        ({"protocol": "none"}, "there is no protocol 'none'"),
        ({"results": "nowhere"}, "nowhere is not a folder"),
        ({"results": ".", "protocol": "phnet"}, "leave --protocol"),
    ],
)
def test_what_does_not_fit_a_phnet_is_refused(bundle, change, said):
    with pytest.raises(HarmonyError, match=said), opened(Run(str(bundle), **change)):
        pass


def test_what_does_not_fit_a_diffharmony_is_refused(kl_bundle):
    with pytest.raises(HarmonyError, match="gives 32x32"), opened(Run(str(kl_bundle), "diffharmony", size=64)):
        pass
    with pytest.raises(HarmonyError, match="is for phnet"), opened(Run(str(kl_bundle), "phnet")):
        pass
    with pytest.raises(HarmonyError, match="protocols diffharmony"), opened(Run(str(kl_bundle), refiner=False)):
        pass


def test_results_of_others_are_scored_as_they_are(data, tmp_path):
    done = tmp_path / "done"
    done.mkdir()
    pairs = read_split(data / "one")
    for pair in pairs:
        Image.open(pair.real).save(done / f"{pair.name}.png")
    run = Run("others", results=str(done), size=0)
    assert all(row.after.mse == 0 < row.before.mse for row in measure(run, pairs).rows)
    (done / f"{pairs[1].name}.png").unlink()
    with pytest.raises(HarmonyError, match=f"no picture for the composite {pairs[1].name}"):
        measure(run, pairs)


def test_results_of_one_name_are_told_apart_by_their_subset(data, tmp_path):
    pairs = read_split(data)
    for pair in pairs:
        (tmp_path / "done" / pair.subset).mkdir(parents=True, exist_ok=True)
        Image.open(pair.real).save(tmp_path / "done" / pair.subset / f"{pair.name}.png")
    run = Run("others", results=str(tmp_path / "done"), size=0)
    assert all(row.after.mse == 0 for row in measure(run, pairs).rows)
    (tmp_path / "done" / "two").rename(tmp_path / "done" / "three")
    with pytest.raises(HarmonyError, match="keep one of them in a folder named two"):
        measure(run, pairs)


def test_pictures_of_16_bits_are_compared_on_the_usual_scale(bundle, data, tmp_path):
    pair = read_split(data / "one")[0]
    run = Run(str(bundle), size=0, backend="onnxruntime")
    expected = measure(run, [pair]).rows[0]
    for path in (pair.composite, pair.real):
        deep = np.asarray(Image.open(path)).astype(np.uint16) * 257
        path.write_bytes(_ppm(deep))
    assert measure(run, [pair]).rows[0].before == expected.before


def _ppm(pixels: np.ndarray) -> bytes:
    head = f"P6 {pixels.shape[1]} {pixels.shape[0]} 65535\n".encode()
    return head + pixels.astype(">u2").tobytes()


def test_several_processes_give_the_same_rows(bundle, data):
    run = Run(str(bundle), backend="onnxruntime", threads=1)
    pairs = read_split(data)
    told, remarks = [], []
    found = measure(run, pairs, 2, on_row=lambda row: told.append(row.name), on_remark=remarks.append)
    assert found.rows == measure(run, pairs).rows
    assert found.about == measure(run, pairs).about
    assert len(told) == 5
    assert any("with onnxruntime" in line for line in remarks)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at Linux's /proc")
def test_workers_end_with_a_parent_that_is_killed(bundle, data, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import multiprocessing, sys, time
        from harmonyrt.evaluation.iharmony4 import read_split
        from harmonyrt.evaluation.measure import measure
        from harmonyrt.evaluation.runs import Run

        def tell(row):
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
            time.sleep(600)

        if __name__ == "__main__":
            run = Run({str(bundle)!r}, backend="onnxruntime", threads=1)
            measure(run, read_split({str(data)!r}), 2, on_row=tell)
        """)
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    workers = parent.stdout.readline().split()
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_an_error_in_a_process_is_its_sentence(bundle, data):
    pairs = read_split(data)
    pairs[3].real.write_bytes(b"no picture")
    with pytest.raises(HarmonyError, match=pairs[3].real.name):
        measure(Run(str(bundle), backend="onnxruntime"), pairs, processes=2)


def test_a_process_that_dies_is_a_sentence(bundle, data, monkeypatch):
    def broken(*arguments, **more):
        raise measuring.BrokenProcessPool

    monkeypatch.setattr(measuring.ProcessPoolExecutor, "map", broken)
    with pytest.raises(WorkFailed, match="give fewer --processes"):
        measure(Run(str(bundle), backend="onnxruntime"), read_split(data), processes=2)


class TestScoresFile:
    @pytest.fixture
    def run(self, bundle) -> Run:
        return Run(str(bundle), backend="onnxruntime", threads=1)

    def rows(self, run, pairs, path, resume=False, stop_after=None):
        made = []
        file = ScoresFile(path, [run], pairs, resume)

        def on_row(row):
            file.add(0, row)
            made.append(row)
            if len(made) == stop_after:
                raise KeyboardInterrupt

        try:
            return measure(run, pairs, known=file.known[0], on_row=on_row).rows, len(made)
        finally:
            file.close()

    def test_an_interrupted_run_goes_on(self, run, data, tmp_path):
        pairs, path = read_split(data), tmp_path / "scores.jsonl"
        expected, _ = self.rows(run, pairs, tmp_path / "other.jsonl")
        with pytest.raises(KeyboardInterrupt):
            self.rows(run, pairs, path, stop_after=2)
        path.write_bytes(path.read_bytes()[:-20])  # killed in the middle of a line
        assert self.rows(run, pairs, path, resume=True) == (expected, 4)
        assert self.rows(run, pairs, path, resume=True) == (expected, 0)

    def test_what_was_made_of_something_else_is_refused(self, run, data, tmp_path):
        pairs, path = read_split(data), tmp_path / "scores.jsonl"
        self.rows(run, pairs, path)
        with pytest.raises(HarmonyError, match="add --resume"):
            self.rows(run, pairs, path)
        with pytest.raises(HarmonyError, match="made with other pictures"):
            self.rows(run, pairs[:2], path, resume=True)
        other = Run(run.bundle, "phnet", backend="onnxruntime", threads=1)
        with pytest.raises(HarmonyError, match="made with other bundles or options"):
            self.rows(other, pairs, path, resume=True)
        both = tmp_path / "both.jsonl"
        file = ScoresFile(both, [run, other], pairs, False)
        file.add(1, next(iter(self.rows(run, pairs, tmp_path / "more.jsonl")[0])))
        file.close()
        with pytest.raises(HarmonyError, match="made with other bundles or options"):  # of two runs, for one
            self.rows(run, pairs, both, resume=True)
        path.write_text("no scores\n")
        with pytest.raises(HarmonyError, match="holds no scores that can be read"):
            self.rows(run, pairs, path, resume=True)

    def test_a_place_that_cannot_be_written_is_a_sentence(self, run, data, tmp_path):
        with pytest.raises(HarmonyError, match="cannot write"):
            ScoresFile(tmp_path / "no" / "scores.jsonl", [run], read_split(data), False)
