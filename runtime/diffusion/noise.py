"""Noise that a seed decides, on every machine and backend.

The raw stream is Philox4x64-10 as NumPy has it (``numpy.random.Philox``, key = [seed, sample], counter from 0), which
NumPy promises never to change; its normal distribution carries no such promise, so the way to normal numbers is ours:

* two raw 64-bit words give two uniform numbers, ``u = ((a >> 11) + 1) * 2**-53`` in (0, 1] and
  ``v = (b >> 11) * 2**-53`` in [0, 1);
* Box and Muller turn them into two normal ones, ``sqrt(-2 ln u) * cos(2 pi v)`` and ``... * sin(2 pi v)``, in float64,
  rounded to float32. A tensor takes the cosines first, then the sines, in C order; of an odd count the last is dropped.

Order of the tensors: initial latents, the composite's posterior, one for each step (the last is drawn and not used),
then, with the harmony VAE, the condition's posterior. Pictures of a batch do not share a stream: each has the same
noise that it would have alone.
"""

from __future__ import annotations

import numpy as np

from harmonyrt.common import HarmonyError

LARGEST_SEED = 2**64 - 1


class NoiseStream:
    """Normal numbers of one seed and sample, tensor after tensor.

    Args:
        seed: 0 to 2^64 - 1.
        sample: which of several variations; 0 for the first.

    Raises:
        HarmonyError: a seed out of range.
    """

    def __init__(self, seed: int, sample: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed <= LARGEST_SEED:
            raise HarmonyError(f"seed {seed!r} is not possible; give a whole number from 0 to 2^64 - 1")
        self._raw = np.random.Philox(key=np.array([seed, sample], np.uint64))

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """The next tensor, float32."""
        count = int(np.prod(shape))
        pairs = (count + 1) // 2
        words = self._raw.random_raw(2 * pairs) >> np.uint64(11)
        u, v = (words[:pairs] + 1) * 2.0**-53, words[pairs:] * 2.0**-53
        radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * v
        numbers = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
        return numbers.astype(np.float32).reshape(shape)
