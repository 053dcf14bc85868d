"""The vectors of video frames on a GPU, which the C++ suite reads too: Python still gives what was written.

After a deliberate change: `python tests/vectors/write_device_vectors.py`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "vectors"))

import write_device_vectors as writer

WRITTEN = json.loads(writer.FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("found", "written"), list(zip(writer.cases(), WRITTEN["cases"], strict=True)))
def test_a_frame_is_the_one_that_was_written(found, written):
    kind = np.uint8 if written["format"] == "NV12" else np.uint16
    planes = [np.frombuffer(bytes.fromhex(one["harmonized"]), kind).astype(int) for one in (found, written)]
    shift = 0 if kind is np.uint8 else 6
    assert np.abs((planes[0] >> shift) - (planes[1] >> shift)).max() <= 1
    assert planes[1].tolist() != np.frombuffer(bytes.fromhex(written["frame"]), kind).tolist()
    for name in ("frame", "mask", "matrix", "range", "strength"):
        assert found[name] == written[name]


def test_colour_spaces_are_those_that_were_written():
    assert len(WRITTEN["spaces"]) == 28
    for found, written in zip(writer.spaces(), WRITTEN["spaces"], strict=True):
        for name in ("offset", "to_rgb", "from_rgb"):
            np.testing.assert_allclose(found.pop(name), written.pop(name), rtol=1e-9, atol=1e-12)
        assert found == written
