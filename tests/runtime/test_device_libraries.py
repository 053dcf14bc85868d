"""docs/embedding.md's examples with other libraries' arrays and streams, over a simulated GPU, for each GPU backend."""

from __future__ import annotations

import re
import types
from pathlib import Path

import numpy as np
import pytest

from fakes.cuda import SimulatedCuda, view
from fakes.cuda_engines import SimulatedEngine, open_session
from fakes.device_libraries import LIBRARIES, installed
from fakes.onnxruntime import FakeOnnxRuntime
from harmonyrt.common import HarmonyError
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.backends import cuda, onnxruntime
from harmonyrt.runtime.backends.device_arrays import DeviceArray, stream_handle
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.tensors import run_tensors

GUIDE = Path(__file__).parents[2] / "docs" / "embedding.md"
SHAPE = (1, 3, 64, 64)


def examples() -> dict[str, str]:
    """The guide's blocks for this test, by library."""
    text = GUIDE.read_text(encoding="utf-8")
    blocks = re.findall(
        rf"<!-- needs: a GPU; tests/runtime/{Path(__file__).name}.*?-->\n```python\n(.*?)```", text, re.S
    )
    return {next(name for name in LIBRARIES if re.search(rf"(import|from) {name}\b", one)): one for one in blocks}


@pytest.fixture
def gpu(monkeypatch):
    device = SimulatedCuda()
    monkeypatch.setattr(cuda, "open_cuda", lambda: device)
    return device


@pytest.fixture(params=["onnxruntime", "tensorrt"])
def harmonizer(request, gpu, static_bundle, monkeypatch):
    """Something with `run_tensor`: output = image / 2 + mask."""
    if request.param == "onnxruntime":
        fake = FakeOnnxRuntime(gpu)
        fake.shape = SHAPE
        monkeypatch.setattr(onnxruntime, "require", lambda *_: fake)
        return Harmonizer.open(static_bundle, backend="onnxruntime", device="cuda")
    inputs = {"image": (SHAPE, np.float32), "mask": ((1, 1, 64, 64), np.float32)}
    engine = SimulatedEngine(
        gpu, inputs, {"output": (SHAPE, np.float32)}, lambda given: {"output": given["image"] / 2 + given["mask"]}
    )
    session, manifest = open_session(engine), open_bundle(static_bundle).manifest
    return types.SimpleNamespace(
        run_tensor=lambda image, mask, out=None, stream=None: run_tensors(session, manifest, image, mask, out, stream)
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_guides_examples_run(library, harmonizer, gpu):
    random = np.random.default_rng(0)
    with installed(library, gpu):
        for _ in range(3):  # from the second run on, TensorRT's launches are a graph
            image, mask = random.random(SHAPE, np.float32), random.random((1, 1, 64, 64), np.float32)
            names = {"harmonizer": harmonizer, "image_array": image, "mask_array": mask}
            exec(compile(examples()[library], str(GUIDE), "exec"), names)
            np.testing.assert_allclose(names["result"], image / 2 + mask, rtol=1e-6)
            if library in ("torch", "cupy"):
                assert type(names["output"]).__module__ == library


@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_a_consumers_stream_waits_for_what_comes_back(library, harmonizer, gpu):
    """The arrays are on the default stream and their user on another one, which does not wait for that by itself."""
    image, mask = np.full(SHAPE, 0.5, np.float32), np.ones((1, 1, 64, 64), np.float32)
    with installed(library, gpu) as module:
        given = [module.as_tensor(a, device="cuda") if library == "torch" else module.asarray(a) for a in (image, mask)]
        stream = module.cuda.Stream() if library == "torch" else module.cuda.Stream(non_blocking=True)
        with module.cuda.stream(stream) if library == "torch" else stream:
            output = harmonizer.run_tensor(*given)
            result = output.cpu().numpy() if library == "torch" else module.asnumpy(output)
    np.testing.assert_allclose(result, 1.25)


@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_what_another_stream_makes_is_waited_for(library, harmonizer, gpu):
    """The arrays are on a stream of their library's, and the call is on the default one."""
    image, mask = np.full(SHAPE, 0.5, np.float32), np.ones((1, 1, 64, 64), np.float32)
    with installed(library, gpu) as module:
        stream = module.cuda.Stream() if library == "torch" else module.cuda.Stream(non_blocking=True)
        with module.cuda.stream(stream) if library == "torch" else stream:
            given = [
                module.as_tensor(a, device="cuda") if library == "torch" else module.asarray(a) for a in (image, mask)
            ]
        output = harmonizer.run_tensor(*given)
        result = output.cpu().numpy() if library == "torch" else module.asnumpy(output)
    np.testing.assert_allclose(result, 1.25)


def test_streams_are_known_by_what_their_libraries_call_them(gpu):
    by_protocol = types.SimpleNamespace(__cuda_stream__=lambda: (0, 9))
    assert [stream_handle(one) for one in (None, 7, by_protocol)] == [0, 7, 9]
    for name in LIBRARIES:
        with installed(name, gpu) as module:
            make = {"numba": lambda m: m.cuda.stream(), "pycuda": lambda m: m.driver.Stream()}
            stream = make.get(name, lambda m: m.cuda.Stream())(module)
            assert stream_handle(stream) in gpu._streams
    default = types.SimpleNamespace(handle=types.SimpleNamespace(value=None))  # Numba's default stream
    assert stream_handle(default) == 0
    with pytest.raises(HarmonyError, match="stream is a str; give a CUDA stream of PyTorch"):
        stream_handle("default")


def test_a_stream_for_arrays_of_the_host_is_refused(static_bundle):
    harmonizer = Harmonizer.open(static_bundle, backend="onnxruntime", device="cpu")
    image, mask = np.zeros(SHAPE, np.float32), np.zeros((1, 1, 64, 64), np.float32)
    with pytest.raises(HarmonyError, match="stream is for tensors on a GPU"):
        harmonizer.run_tensor(image, mask, stream=5)


def test_a_consumer_that_wants_no_order_gets_none(gpu):
    """DLPack's -1; and its own stream needs none."""
    made, consumer = gpu.create_stream(), gpu.create_stream()
    address = gpu.allocate(4)
    array = DeviceArray(address, (1,), np.dtype(np.float32), stream=made, ready=cuda.waiting(gpu, 0, made))
    gpu.enqueue(made, lambda: view(address, (1,)).fill(1), address)
    for stream in (-1, made):
        array.__dlpack__(stream=stream)
    assert gpu.count_of("wait") == 0
    array.__dlpack__(stream=consumer)
    gpu.synchronize(consumer)
    assert view(address, (1,))[0] == 1


@pytest.mark.gpu
@pytest.mark.parametrize("options", [None, {"enable_cuda_graph": True}])
def test_a_real_gpu_keeps_the_order_of_a_stream(static_bundle, options):
    torch = pytest.importorskip("torch")
    on_cpu = Harmonizer.open(static_bundle, backend="onnxruntime", device="cpu")
    on_gpu = Harmonizer.open(static_bundle, backend="onnxruntime", device="cuda", provider_options=options)
    stream = torch.cuda.Stream()
    for seed in range(4):
        random = np.random.default_rng(seed)
        image, mask = random.random(SHAPE, np.float32), random.random((1, 1, 64, 64), np.float32)
        with torch.cuda.stream(stream):
            given = [torch.as_tensor(array, device="cuda") for array in (image, mask)]
            found = on_gpu.run_tensor(*given, stream=stream).cpu().numpy()
        np.testing.assert_allclose(found, on_cpu.run_tensor(image, mask), atol=1e-5)
