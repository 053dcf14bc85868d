"""Engines with optimisation profiles, as TensorRT's runtime opens them, on the memory and streams of :mod:`fakes.cuda`.

They compute `image * mask + image`.
"""

from __future__ import annotations

import ctypes

import numpy as np


class FakeContext:
    def __init__(self, engine, strategy=None):
        self.engine, self.strategy, self.shapes, self.addresses = engine, strategy, {}, {}
        self.active_optimization_profile = 0
        self.enqueued, self.fails = 0, False

    def set_input_shape(self, name, shape):
        """Shapes outside the active profile are refused."""
        low, _, high = self.engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        if not self.engine.size and not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            return False
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name):
        return self.shapes["image"] if name == "output" else self.shapes[name]

    def set_tensor_address(self, name, memory):
        self.addresses[name] = memory
        return True

    def set_optimization_profile_async(self, profile_index, stream_handle):
        self.active_optimization_profile = profile_index
        return True

    def execute_async_v3(self, stream_handle):
        if self.enqueued == 0:
            self.engine.cuda.unsafe("cudaMalloc")  # what the first run sets up
        if self.fails:
            self.engine.logger.log("error", "out of memory")
            return False
        self.enqueued += 1
        bound, shapes = dict(self.addresses), dict(self.shapes)

        def work():
            image, mask = (_view(bound[name], shapes[name]) for name in ("image", "mask"))
            _view(bound["output"], shapes["image"])[:] = image * mask + image

        self.engine.cuda.enqueue(stream_handle, work, *bound.values())
        return True


def _view(address, shape):
    size = int(np.prod(shape))
    return np.frombuffer((ctypes.c_float * size).from_address(address), np.float32).reshape(shape)


class FakeEngine:
    names = ("image", "mask", "output")
    num_io_tensors = 3
    num_optimization_profiles = 2
    profiles = (((1, 64), (1, 512), (1, 2048)), ((2, 64), (4, 256), (16, 512)))

    def __init__(self, device, size, logger):
        self.cuda, self.size, self.logger = device, size, logger
        self.contexts = []

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return "output" if name == "output" else "input"

    def get_tensor_dtype(self, name):
        return np.float32

    def _shape(self, name, batch, side):
        return (batch, 1 if name == "mask" else 3, side, side)

    def get_tensor_shape(self, name):
        return self._shape(name, 1, self.size) if self.size else self._shape(name, -1, -1)

    def get_tensor_profile_shape(self, name, profile_index):
        return [self._shape(name, *limit) for limit in self.profiles[profile_index]]

    def create_execution_context(self, strategy=None):
        self.contexts.append(FakeContext(self, strategy))
        return self.contexts[-1]
