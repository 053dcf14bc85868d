"""What a program hands over by mistake is one sentence, whatever its type."""

import copy
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.images.encode import write_picture_file
from harmonyrt.runtime.images.pictures import read_picture_file


@pytest.fixture(scope="module")
def harmonizer(static_bundle):
    with Harmonizer.open(static_bundle, backend="onnxruntime", threads=1) as opened:
        yield opened


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": "2"}, "threads is '2'; give 1 to 4096"),
        ({"threads": 2.5}, "threads is 2.5; give 1 to 4096"),
        ({"threads": True}, "threads is True"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 10**9}, "threads is 1000000000; give 1 to 4096"),
        ({"sessions": "many"}, "sessions is 'many'; give 1 to 4096"),
        ({"device": "npu"}, "device 'npu' is not known; give cpu, cuda or cuda:N"),
        ({"device": "CPU"}, "device 'CPU' is not known"),
        ({"device": "cuda:"}, "device 'cuda:' is not known"),
        ({"device": 0}, "device 0 is not known"),
    ],
)
def test_options_of_open(static_bundle, options, words):
    with pytest.raises(HarmonyError, match=words):
        Harmonizer.open(static_bundle, **options)


def test_counts_may_be_numpy_integers(static_bundle):
    with Harmonizer.open(static_bundle, backend="onnxruntime", threads=np.int64(1), sessions=np.int32(1)) as opened:
        assert opened.info.threads == 1


@pytest.mark.parametrize("path", [None, 3, "n" * 5000])
def test_what_is_no_path_of_a_bundle(path):
    with pytest.raises(HarmonyError, match="give the path of a folder"):
        Harmonizer.open(path)


def test_a_path_may_be_bytes_and_a_file_is_no_bundle(static_bundle):
    Harmonizer.open(os.fsencode(static_bundle), backend="onnxruntime", threads=1).close()
    with pytest.raises(HarmonyError, match=r"manifest.json is a file; give the folder"):
        Harmonizer.open(Path(static_bundle) / "manifest.json")


@pytest.mark.parametrize("label", [3.5, "dog", [1.0], ["dog"]])
def test_a_label_is_a_whole_number(harmonizer, composite, ellipse, label):
    with pytest.raises(HarmonyError, match="give a whole number"):
        harmonizer.harmonize(composite, ellipse, label=label)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_a_matrix_is_a_mask_as_its_array_is(harmonizer, composite, ellipse):
    found = harmonizer.harmonize(composite, np.matrix(ellipse))
    np.testing.assert_array_equal(found, harmonizer.harmonize(composite, ellipse))


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_open_engine_is_not_copied(harmonizer, act):
    with pytest.raises(HarmonyError, match="open the bundle there"):
        act(harmonizer)


def test_what_is_written_is_a_picture_file_and_has_a_path(tmp_path, composite):
    with pytest.raises(HarmonyError, match="the picture is a ndarray; give what read_picture_file"):
        write_picture_file(composite, tmp_path / "o.png")
    picture = read_picture_file(Path(__file__).parents[2] / "examples" / "lemur_mask.png")
    for path in (None, 3):
        with pytest.raises(HarmonyError, match="was given as the output; give a path"):
            write_picture_file(picture, path)
    assert not list(tmp_path.iterdir())
