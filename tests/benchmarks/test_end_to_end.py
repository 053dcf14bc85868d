"""A pair from bytes to bytes on a tiny bundle. No assertion is on a time."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from harmonyrt.benchmarks.end_to_end import STAGES, files, main, once
from harmonyrt.runtime import Harmonizer


def test_what_is_timed_is_the_whole_way(bundle):
    composite, mask = files(40, 56)
    stages, output = once(Harmonizer.open(bundle, "onnxruntime", 1), composite, mask)
    assert tuple(stages) == STAGES
    assert stages["total"] >= max(stages["read"], stages["engine"], stages["write"]) > 0
    with Image.open(io.BytesIO(output)) as after, Image.open(io.BytesIO(composite)) as before:
        inside = np.asarray(after, float)[18:22, 26:30].mean() / np.asarray(before, float)[18:22, 26:30].mean()
    assert inside == pytest.approx(0.9, abs=0.03)  # the bundle darkens


def test_it_prints_a_table_and_leaves_a_record(bundle, tmp_path, capsys):
    record = tmp_path / "end_to_end.json"
    options = ["--backend", "onnxruntime", "--threads", "1", "--picture", "40x56", "--rounds", "2"]
    assert main([str(bundle), *options, "--json", str(record)]) == 0
    report = json.loads(record.read_text())
    assert set(report["rows"][0]) == {"threads", *STAGES}
    assert report["picture"] == [40, 56]
    assert "carry back, ms" in capsys.readouterr().out


def test_wrong_sizes_and_bundles_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["x", "--picture", "12"])
    assert main([str(tmp_path / "none"), "--picture", "8x8"]) == 2
    assert "does not exist" in capsys.readouterr().err
