"""Sizes that weights were trained at, and engines of others."""

from __future__ import annotations

import pytest

from harmonyrt.runtime.trained_sizes import outside_trained_sizes, working_side

CONFIG = {"trained_sizes": [96, 128, 192]}


@pytest.mark.parametrize("size", [(96, 96), (128, 192), (160, 160), None])
def test_sizes_within_the_trained_ones_need_no_word(size):
    assert outside_trained_sizes(CONFIG, size) is None


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (128, 256)])
def test_sizes_outside_are_told_with_what_to_build_instead(size):
    sentence = outside_trained_sizes(CONFIG, size)
    assert sentence is not None
    assert "96 to 192 px" in sentence
    assert "--sizes" in sentence


def test_one_trained_size_is_named_alone():
    assert "at 128 px," in (outside_trained_sizes({"trained_sizes": [128]}, (256, 256)) or "")


@pytest.mark.parametrize("config", [{}, {"trained_sizes": []}])
def test_nothing_is_said_of_weights_that_say_nothing(config):
    assert outside_trained_sizes(config, (512, 512)) is None


def test_an_engine_of_any_size_works_at_a_trained_one():
    assert working_side([]) == 256
    assert working_side([96, 128]) == 128
    assert working_side([128, 512]) == 256
    assert working_side([320]) == 320
