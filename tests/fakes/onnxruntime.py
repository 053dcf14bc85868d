"""ONNX Runtime's GPU half over :mod:`fakes.cuda`: what a session is given is checked as the real one checks it.

Work goes on the stream that the provider options name, or on one of its own; a run waits unless told not to. A CUDA
graph is recorded in the second run and works on that run's memory from then on, whatever is bound later.
"""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np

from fakes.cuda import SimulatedCuda, view

SHAPE = (1, 3, 8, 8)
# Of OrtCUDAProviderOptionsV2 and OrtTensorRTProviderOptionsV2, as far as tests give them.
KNOWN = {
    "CUDAExecutionProvider": {
        "device_id", "user_compute_stream", "use_tf32", "enable_cuda_graph", "gpu_mem_limit", "prefer_nhwc",
    },
    "TensorrtExecutionProvider": {
        "device_id", "user_compute_stream", "trt_fp16_enable", "trt_engine_cache_enable", "trt_engine_cache_path",
        "trt_timing_cache_enable", "trt_timing_cache_path", "trt_cuda_graph_enable", "trt_builder_optimization_level",
    },
}  # fmt: skip


class FakeOnnxRuntime(types.SimpleNamespace):
    """A stand-in for the module.

    Attributes:
        cuda: the simulated GPU.
        sessions: that were opened.
        available: providers of the package.
        broken: providers that do not load, so that the next one of the list comes up.
        raising: providers whose libraries are missing in the way that is an error.
        severity: of what is printed.
        cpu_nodes: operators that stay on the CPU.
        free_axes: the engine takes any batch.
        shape: of its image.
        fails: raised by runs.
    """

    __version__ = "1.31.1"
    GraphOptimizationLevel = types.SimpleNamespace(ORT_ENABLE_ALL=99)

    def __init__(self, cuda: SimulatedCuda) -> None:
        super().__init__(
            cuda=cuda,
            sessions=[],
            broken=(),
            raising=(),
            severity=2,
            cpu_nodes=(),
            free_axes=False,
            fails=None,
            shape=SHAPE,
        )
        self.available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_available_providers(self):
        return self.available

    def set_default_logger_severity(self, severity):
        self.severity = severity

    def preload_dlls(self):
        print("Failed to load libcudnn.so.9")  # as the real one does

    def SessionOptions(self):
        entries: dict[str, str] = {}
        return types.SimpleNamespace(entries=entries, add_session_config_entry=entries.__setitem__)

    def RunOptions(self):
        entries: dict[str, str] = {}
        return types.SimpleNamespace(entries=entries, add_run_config_entry=entries.__setitem__)

    def InferenceSession(self, path, settings, providers, enable_fallback=1):
        self.sessions.append(Session(self, settings, providers, enable_fallback))
        return self.sessions[-1]


class Session:
    def __init__(self, ort, settings, providers, enable_fallback) -> None:
        self.ort, self.enable_fallback, self.runs, self.recorded = ort, enable_fallback, 0, None
        assert ort.severity == 4, "it prints about providers that do not load"
        if "TensorrtExecutionProvider" in ort.raising:
            raise RuntimeError("x.cc:729 Please install TensorRT libraries as mentioned in the GPU requirements page.")
        given = [(one, {}) if isinstance(one, str) else one for one in providers]
        self.options = dict(given)
        for name, options in given:
            unknown = set(options) - KNOWN.get(name, set())
            if unknown:
                raise RuntimeError(f"[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Unknown provider option: {unknown}")
            assert all(isinstance(value, str) for value in options.values())
        self.providers = [name for name, _ in given if name not in ort.broken]
        own = self.options.get(self.providers[0], {})
        self.stream = int(own.get("user_compute_stream", 0)) or ort.cuda.create_stream()
        self.graph = "1" in (own.get("enable_cuda_graph"), own.get("trt_cuda_graph_enable"))
        self.recording = settings.entries.get("session.record_ep_graph_assignment_info") == "1"
        self.built = 0
        if own.get("trt_engine_cache_enable") == "1":
            plan = Path(own["trt_engine_cache_path"]) / "TensorrtExecutionProvider_graph_sm89.engine"
            if not plan.exists():
                self.built = 1
                plan.write_bytes(b"plan")

    def get_providers(self):
        return self.providers

    def get_provider_graph_assignment_info(self):
        assert self.recording
        nodes = [types.SimpleNamespace(op_type=kind) for kind in self.ort.cpu_nodes]
        return [
            types.SimpleNamespace(ep_name="CUDAExecutionProvider", get_nodes=lambda: [nodes] * 3),
            types.SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: nodes),
        ]

    def _described(self, name, channels):
        shape = ["batch" if self.ort.free_axes else 1, channels, *self.ort.shape[2:]]
        return types.SimpleNamespace(name=name, shape=shape, type="tensor(float)")

    def get_inputs(self):
        return [self._described("image", 3), self._described("mask", 1)]

    def get_outputs(self):
        return [self._described("output", 3)]

    def run(self, names, feeds):
        if self.ort.fails is not None:
            if self.enable_fallback:
                print("EP Error\nFalling back to ['CPUExecutionProvider'] and retrying.")
                return [_compute(feeds["image"], feeds["mask"])]
            raise self.ort.fails
        assert not self.graph, "with a CUDA graph, inputs and outputs have to be bound"
        return [_compute(feeds["image"], feeds["mask"])]

    def io_binding(self):
        return Binding(self)

    def run_with_iobinding(self, binding, options=None):
        if self.ort.fails is not None:
            raise self.ort.fails
        self.runs += 1
        for name, (_, shape, _) in list(binding.outputs.items()):
            if shape is None:
                made = binding.inputs["image"][1]
                binding.outputs[name] = (self.ort.cuda.allocate(int(np.prod(made)) * 4), made, np.float32)
        bound = {**binding.inputs, **binding.outputs}
        if self.graph and self.runs >= 2:
            self.recorded = self.recorded or bound
            bound = self.recorded

        def work():
            view(*bound["output"])[:] = _compute(view(*bound["image"]), view(*bound["mask"]))

        self.ort.cuda.enqueue(self.stream, work, *(address for address, _, _ in bound.values()))
        if options is None or options.entries.get("disable_synchronize_execution_providers") != "1":
            self.ort.cuda.synchronize(self.stream)


class Binding:
    def __init__(self, session) -> None:
        self.session, self.inputs, self.outputs = session, {}, {}

    def bind_input(self, name, kind, index, dtype, shape, address):
        assert kind == "cuda"
        self.inputs[name] = (address, tuple(shape), np.dtype(dtype))

    def bind_output(self, name, kind, index, dtype=None, shape=None, address=None):
        assert kind == "cuda"
        self.outputs[name] = (address, None if shape is None else tuple(shape), dtype)

    def synchronize_inputs(self):
        self.session.ort.cuda.finish()

    synchronize_outputs = synchronize_inputs

    def get_outputs(self):
        return [
            types.SimpleNamespace(data_ptr=lambda a=address: a, shape=lambda s=shape: list(s))
            for address, shape, _ in self.outputs.values()
        ]


def _compute(image, mask):
    return (image * 0.5 + mask).astype(np.float32)
