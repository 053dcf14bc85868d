"""Noise that a seed decides: documented, so that another language can make the same."""

from __future__ import annotations

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.diffusion.noise import NoiseStream


def test_a_seed_gives_these_numbers():
    """Fixed: a picture made with a seed today is made again with it in years."""
    found = NoiseStream(0).normal((2, 2))
    np.testing.assert_allclose(found, [[2.2844415, -1.5494508], [1.9245853, -0.66375184]], rtol=1e-6)


def test_the_documented_arithmetic():
    words = np.random.Philox(key=np.array([5, 3], np.uint64)).random_raw(4)
    u = ((words[:2] >> np.uint64(11)) + 1) / 2**53
    v = (words[2:] >> np.uint64(11)) / 2**53
    expected = np.sqrt(-2 * np.log(u)) * np.array([np.cos(2 * np.pi * v), np.sin(2 * np.pi * v)])
    np.testing.assert_allclose(NoiseStream(5, 3).normal((3,)), expected.reshape(-1)[:3], rtol=1e-6)


def test_it_is_normal_and_finite():
    numbers = NoiseStream(1).normal((200_000,))
    assert numbers.dtype == np.float32
    assert np.isfinite(numbers).all()
    assert abs(numbers.mean()) < 0.01
    assert abs(numbers.std() - 1) < 0.01
    assert abs((numbers**3).mean()) < 0.03
    assert abs((numbers**4).mean() - 3) < 0.1


def test_tensors_of_a_stream_seeds_and_samples_differ():
    stream = NoiseStream(7)
    tensors = [stream.normal((8,)), stream.normal((8,)), NoiseStream(8).normal((8,)), NoiseStream(7, 1).normal((8,))]
    assert len({tensor.tobytes() for tensor in tensors}) == 4


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "1"])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(HarmonyError, match="give a whole number from 0"):
        NoiseStream(seed)
