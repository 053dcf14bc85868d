"""Errors of one pair among many."""

import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.errors import error_of_pair


def test_a_sentence_of_ours_comes_back_as_it_is():
    known = HarmonyError("masks/a.png is damaged; fetch it again")
    assert error_of_pair(known, "composites/a.png") is known


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "composites/a.png does not fit into this machine's memory"),
        (ZeroDivisionError("division by zero"), "composites/a.png failed (ZeroDivisionError: division by zero)"),
        (RuntimeError(), "composites/a.png failed (RuntimeError)"),
    ],
)
def test_anything_else_names_the_composite_and_counts_as_failed_work(error, words):
    found = error_of_pair(error, "composites/a.png")
    assert str(found).startswith(words)
    assert isinstance(found, WorkFailed)
