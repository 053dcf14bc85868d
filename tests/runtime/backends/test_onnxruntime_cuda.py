"""ONNX Runtime on a GPU, over the simulated one: providers and options, arrays in device memory, streams, graphs."""

from __future__ import annotations

import gc
import hashlib
import logging
import types

import numpy as np
import pytest

from fakes.cuda import SimulatedCuda, view
from fakes.onnxruntime import SHAPE, FakeOnnxRuntime
from harmonyrt.common import HarmonyError, HarmonyWarning, WorkFailed
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.backends import SessionOptions, cuda, onnxruntime
from harmonyrt.runtime.backends import onnxruntime_providers as providers
from harmonyrt.runtime.backends.device_arrays import DeviceArray
from harmonyrt.runtime.manifest import EngineSpec, FileSpec, Parity

MASK = (SHAPE[0], 1, *SHAPE[2:])


@pytest.fixture
def gpu(monkeypatch):
    device = SimulatedCuda(count=2)
    monkeypatch.setattr(cuda, "open_cuda", lambda: device)
    return device


@pytest.fixture
def ort(gpu, monkeypatch):
    fake = FakeOnnxRuntime(gpu)
    monkeypatch.setattr(onnxruntime, "require", lambda *_: fake)
    return fake


def engine(precision="fp32"):
    digest = hashlib.sha256(b"a graph").hexdigest()
    return EngineSpec("onnx", precision, (FileSpec("unet/model.onnx", digest, 7),), {}, Parity(1, 0, 200, "", ""))


@pytest.fixture
def opened(ort, tmp_path):
    """opened(provider=..., options={...}, precision=...) -> a session on cuda:0."""

    def make(provider=None, options=None, precision="fp32", device="cuda", cache=""):
        asked = SessionOptions(1, device, cache, None, 1, provider, providers.checked_options(options))
        reason = onnxruntime.why_not(engine(precision), asked)
        if reason is not None:
            raise HarmonyError(reason)
        path = tmp_path / "unet" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a graph")
        return onnxruntime.open_session(path, engine(precision), None, asked)

    return make


class Given:
    """Arrays in the simulated device's memory, written on a stream of the caller's, which has not run yet."""

    def __init__(self, gpu, stream, seed=0) -> None:
        random = np.random.default_rng(seed)
        self.image, self.mask = random.random(SHAPE, np.float32), random.random(MASK, np.float32)
        self.arrays = {}
        for name, array in (("image", self.image), ("mask", self.mask)):
            address = gpu.allocate(array.nbytes)
            target, source = view(address, array.shape), array
            gpu.enqueue(stream, lambda t=target, s=source: t.__setitem__(..., s), address)
            self.arrays[name] = DeviceArray(address, array.shape, array.dtype)

    @property
    def expected(self):
        return self.image * np.float32(0.5) + self.mask


def read(gpu, stream, array):
    """What the caller's stream reads of an array, in its order."""
    found = np.empty(array.shape, array.dtype)
    address, shape, dtype = array.address, array.shape, array.dtype  # work in the queue must not keep the array alive
    gpu.enqueue(stream, lambda: found.__setitem__(..., view(address, shape, dtype)), address)
    gpu.synchronize(stream)
    return found


def test_the_session_gets_the_gpu_its_stream_and_no_tf32(opened, ort, capsys):
    session = opened(device="cuda:1", options={"gpu_mem_limit": 1 << 30})
    (real,) = ort.sessions
    given = real.options["CUDAExecutionProvider"]
    assert given == {
        "device_id": "1", "user_compute_stream": str(real.stream), "use_tf32": "0", "gpu_mem_limit": str(1 << 30),
    }  # fmt: skip
    assert (session.backend, session.device) == ("onnxruntime", "cuda:1")
    assert capsys.readouterr() == ("", "")


def test_host_arrays_run(opened):
    image, mask = np.full(SHAPE, 0.5, np.float32), np.ones(MASK, np.float32)
    np.testing.assert_allclose(opened().run({"image": image, "mask": mask})["output"], 1.25)


@pytest.mark.parametrize("options", [None, {"enable_cuda_graph": True}])
def test_arrays_of_the_caller_are_used_in_the_order_of_the_callers_stream(opened, gpu, options):
    session, stream = opened(options=options), gpu.create_stream()
    for seed in range(4):  # more than a graph needs to be recorded; the arrays are others each time
        given = Given(gpu, stream, seed)
        waits = gpu.count_of("synchronize")
        output = session.run_on_device(given.arrays, stream=stream)["output"]
        assert gpu.count_of("synchronize") == waits
        assert output.stream == stream
        np.testing.assert_allclose(read(gpu, stream, output), given.expected)


def test_outputs_of_the_caller_are_written(opened, gpu):
    session, stream = opened(), gpu.create_stream()
    given = Given(gpu, stream)
    mine = DeviceArray(gpu.allocate(given.image.nbytes), SHAPE, np.dtype(np.float32))
    found = session.run_on_device(given.arrays, {"output": mine}, stream=stream)["output"]
    assert found.address == mine.address
    np.testing.assert_allclose(read(gpu, stream, mine), given.expected)


def test_the_stream_that_an_array_names_is_waited_for(opened, gpu):
    """By the array interface a producer says where its contents become ready."""
    session, producer, stream = opened(), gpu.create_stream(), gpu.create_stream()
    given = Given(gpu, producer)

    def shared(array):
        return types.SimpleNamespace(__cuda_array_interface__={**array.__cuda_array_interface__, "stream": producer})

    arrays = {name: shared(array) for name, array in given.arrays.items()}
    output = session.run_on_device(arrays, stream=stream)["output"]
    np.testing.assert_allclose(read(gpu, stream, output), given.expected)


def test_engines_of_any_size_find_the_outputs_shape(opened, ort, gpu):
    ort.free_axes = True
    session, stream = opened(), gpu.create_stream()
    given = Given(gpu, stream)
    output = session.run_on_device(given.arrays, stream=stream)["output"]
    assert output.shape == SHAPE
    np.testing.assert_allclose(read(gpu, stream, output), given.expected)
    with pytest.raises(HarmonyError, match="needs an engine of one size"):
        opened(options={"enable_cuda_graph": "1"})


def test_host_arrays_run_with_a_graph_too(opened):
    session = opened(options={"enable_cuda_graph": True})
    for value in (0.25, 0.5, 1.0):
        image, mask = np.full(SHAPE, value, np.float32), np.ones(MASK, np.float32)
        np.testing.assert_allclose(session.run({"image": image, "mask": mask})["output"], 1 + value / 2)


def test_without_cuda_python_every_call_waits(opened, ort, gpu, monkeypatch):
    def missing():
        raise HarmonyError("CUDA needs the package cuda-python")

    monkeypatch.setattr(cuda, "open_cuda", missing)
    session = opened()
    assert "user_compute_stream" not in ort.sessions[0].options["CUDAExecutionProvider"]
    given = Given(gpu, gpu.create_stream())
    output = session.run_on_device(given.arrays)["output"]
    np.testing.assert_allclose(view(output.address, output.shape), given.expected)
    with pytest.raises(HarmonyError, match="the package cuda-python"):
        opened(options={"enable_cuda_graph": True})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.pop("mask"), "the engine's inputs are image, mask; given were image"),
        (lambda a: a.update(mask=a["image"]), r"mask is float32 \(1, 3, 8, 8\), the engine takes float32 \(1, 1, 8, 8"),
        (lambda a: a.update(mask=DeviceArray(1, MASK, np.dtype(np.float16))), "mask is float16"),
        (lambda a: a.update(mask=DeviceArray(1, MASK, np.dtype(np.float32), 1)), "mask lies on cuda:1"),
    ],
)
def test_what_does_not_fit_is_one_sentence(opened, gpu, change, words):
    given = Given(gpu, gpu.create_stream())
    change(given.arrays)
    with pytest.raises(HarmonyError, match=words):
        opened().run_on_device(given.arrays)


def test_a_run_that_fails_on_the_gpu_is_not_repeated_on_the_cpu(opened, ort, gpu, capsys):
    session = opened()
    ort.fails = RuntimeError("CUDA error 700: an illegal memory access")
    image, mask = np.zeros(SHAPE, np.float32), np.zeros(MASK, np.float32)
    with pytest.raises(WorkFailed, match="could not run the engine: CUDA error 700"):
        session.run({"image": image, "mask": mask})
    stream = gpu.create_stream()
    with pytest.raises(WorkFailed, match="CUDA error 700"):
        session.run_on_device(Given(gpu, stream).arrays, stream=stream)
    assert capsys.readouterr().out == ""


def test_nodes_that_stay_on_the_cpu_are_told(opened, ort, caplog):
    ort.cpu_nodes = ("Conv", "Resize", "Conv")
    with caplog.at_level(logging.WARNING, "harmonyrt.runtime"):
        opened()
    assert "nodes that ONNX Runtime leaves on the CPU: 2 Conv, 1 Resize" in caplog.text


def test_a_provider_that_does_not_load_is_refused_and_gives_all_back(opened, ort, gpu):
    ort.broken = ("TensorrtExecutionProvider",)
    with pytest.raises(HarmonyError, match=r"came up on CUDAExecutionProvider.*TensorrtExecutionProvider did not load"):
        opened(provider="tensorrt")
    assert gpu.count_of("destroy_stream") == 1


def test_the_library_that_a_provider_misses_is_named(opened, ort, tmp_path, monkeypatch, capfd):
    (tmp_path / "capi").mkdir()
    for name in ("cuda", "tensorrt"):
        (tmp_path / "capi" / f"libonnxruntime_providers_{name}.so").write_bytes(b"")
    ort.__file__ = str(tmp_path / "__init__.py")
    errors = {"cuda": "libcublasLt.so.13: cannot open shared object file: No such file", "tensorrt": "file too short"}

    def load(path):
        raise OSError(next(text for name, text in errors.items() if name in path))

    monkeypatch.setattr(providers.ctypes, "CDLL", load)
    ort.broken = ("CUDAExecutionProvider",)
    missing = (
        r"CUDAExecutionProvider did not load \(libcublasLt.so.13: cannot open shared object file\): check nvidia-smi"
    )
    with pytest.raises(HarmonyError, match=missing):
        opened()
    ort.raising = ("TensorrtExecutionProvider",)
    with pytest.raises(HarmonyError, match=r"TensorrtExecutionProvider did not load: check .* or give provider cuda"):
        opened(provider="tensorrt")
    assert ort.severity == 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"provider": "rocm"}, "it knows no provider 'rocm': give cuda or tensorrt"),
        ({"provider": "tensorrt", "precision": "int8"}, "build the target tensorrt, or give provider cuda"),
        ({"provider": "tensorrt", "precision": "bf16"}, "is not used for BF16"),
        ({"options": {"device_id": 1}}, "the provider option device_id cannot be given: give device instead"),
        ({"options": {"user_compute_stream": 7}}, "sessions have their own stream"),
        ({"options": {"no_such_option": 7}}, "cannot load .*Unknown provider option"),
        ({"options": [1]}, "give a dictionary of option names and values"),
        ({"provider": "tensorrt", "device": "cpu"}, "provider tensorrt runs on NVIDIA GPUs, and device cpu"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(opened, asked, words):
    with pytest.raises(HarmonyError, match=words) as caught:
        opened(**asked)
    assert "\n" not in str(caught.value)


def test_a_package_without_the_provider_is_named(opened, ort):
    ort.available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    with pytest.raises(HarmonyError, match="needs TensorrtExecutionProvider, found CUDAExecutionProvider"):
        opened(provider="tensorrt")


@pytest.fixture
def tensorrt_installed(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.setattr(providers.versions, "installed", lambda target: "10.9.0.34")


def test_engines_of_the_tensorrt_provider_are_kept_in_the_cache(opened, ort, tmp_path, tensorrt_installed, monkeypatch):
    cache = str(tmp_path / "cache")
    opened(provider="tensorrt", precision="fp16", cache=cache)
    opened(provider="tensorrt", precision="fp16", cache=cache)
    first, second = ort.sessions
    given = first.options["TensorrtExecutionProvider"]
    assert (given["trt_fp16_enable"], given["trt_engine_cache_enable"]) == ("1", "1")
    assert first.providers == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert (first.built, second.built) == (1, 0)
    (entry,) = (tmp_path / "cache" / "compiled").glob("*.compiled")
    content = bytearray(entry.read_bytes())
    content[-600] ^= 1
    entry.write_bytes(content)  # somebody changed it
    opened(provider="tensorrt", precision="fp16", cache=cache)
    assert ort.sessions[2].built == 1
    opened(provider="tensorrt", precision="fp16", cache=cache, options={"trt_builder_optimization_level": 5})
    assert ort.sessions[3].built == 1
    monkeypatch.setattr(providers.versions, "installed", lambda target: "10.10.0.31")
    opened(provider="tensorrt", precision="fp16", cache=cache)
    assert ort.sessions[4].built == 1


def test_without_a_cache_nothing_is_kept(opened, ort, tensorrt_installed):
    opened(provider="tensorrt", cache="")
    assert "trt_engine_cache_enable" not in ort.sessions[0].options["TensorrtExecutionProvider"]


def test_folders_of_the_provider_are_removed(opened, ort, tmp_path, tensorrt_installed):
    session = opened(provider="tensorrt", cache=str(tmp_path / "cache"))
    folder = ort.sessions[0].options["TensorrtExecutionProvider"]["trt_engine_cache_path"]
    session.close()
    assert not providers.Path(folder).exists()


def test_tf32_of_the_tensorrt_provider_is_told(opened, monkeypatch):
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with pytest.warns(HarmonyWarning, match="set NVIDIA_TF32_OVERRIDE=0"):
        opened(provider="tensorrt")


def test_another_session_has_its_own_stream_and_all_go_before_their_streams(opened, ort, gpu):
    session = opened()
    other = session.another()
    assert ort.sessions[0].stream != ort.sessions[1].stream
    given = Given(gpu, 0)
    outputs = [one.run_on_device(given.arrays)["output"] for one in (session, other)]
    for output in outputs:
        np.testing.assert_allclose(read(gpu, 0, output), given.expected)
    del session, other, outputs, output
    gc.collect()
    assert gpu.count_of("destroy_stream") == 2


def test_another_session_of_a_file_that_was_altered_is_refused(opened, ort, tmp_path):
    session = opened()
    (tmp_path / "unet" / "model.onnx").write_bytes(b"another")
    with pytest.raises(HarmonyError, match=r"unet/model\.onnx was altered since it was opened"):
        session.another()
    assert len(ort.sessions) == 1


def test_the_harmonizers_face(static_bundle):
    with pytest.raises(HarmonyError, match="provider is ONNX Runtime's, and backend is 'auto'"):
        Harmonizer.open(static_bundle, provider="tensorrt")
    with pytest.raises(HarmonyError, match="provider cuda runs on NVIDIA GPUs, and device cpu was asked for"):
        Harmonizer.open(static_bundle, backend="onnxruntime", device="cpu", provider="cuda")
