"""Real engines on a real GPU, for whichever flavour of TensorRT is installed and takes it."""

from __future__ import annotations

import dataclasses
import threading
import types
import warnings

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime import HarmonyWarning
from harmonyrt.runtime.backends import SessionOptions, cuda, tensorrt
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.diffusion.buffers import DeviceBuffers
from harmonyrt.runtime.diffusion.schedule import SamplingSchedule

pytestmark = pytest.mark.gpu

SIDE = 64  # of fakes.small_engine, which needs onnx


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def built(request, tmp_path_factory):
    """An engine that multiplies by a mask and convolves, with what opens it."""
    pytest.importorskip("onnx")
    from fakes import small_engine

    try:
        tensorrt_versions.check_installed(request.param)
    except HarmonyError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp(request.param)
    engine = small_engine.build(request.param, folder)
    if not engine.runs_here:
        pytest.skip(f"{request.param} does not run on this GPU")
    path, spec, weight = engine.path, engine.spec, small_engine.WEIGHT
    options = SessionOptions(cache=str(folder / "kernels"))

    def open_session():
        return tensorrt.open_session(path, spec, None, options)

    return types.SimpleNamespace(spec=spec, path=path, weight=weight, open=open_session, folder=folder)


def _inputs(seed):
    random = np.random.default_rng(seed)
    return {
        "image": random.random((1, 3, SIDE, SIDE), np.float32),
        "mask": random.random((1, 1, SIDE, SIDE), np.float32),
    }


def _expected(inputs, weight):
    padded = np.pad(inputs["image"] * inputs["mask"], ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nchwyx,ocyx->nohw", windows, weight)


def test_plain_runs_recordings_and_replays_agree(built):
    session = built.open()
    for seed in range(6):
        inputs = _inputs(seed)
        np.testing.assert_allclose(session.run(inputs)["output"], _expected(inputs, built.weight), rtol=1e-4)


def test_tensors_of_pytorch_go_in_and_out_without_a_copy(built):
    torch = pytest.importorskip("torch")
    session = built.open()
    target = torch.zeros(1, 3, SIDE, SIDE, device="cuda")
    for seed in range(4):
        inputs = _inputs(seed)
        tensors = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
        session.run_on_device(tensors, {"output": target})
        np.testing.assert_allclose(target.cpu().numpy(), _expected(inputs, built.weight), rtol=1e-4)
        made = torch.from_dlpack(session.run_on_device(tensors)["output"])
        assert torch.equal(made, target)


def test_work_is_ordered_on_a_stream_of_the_callers(built):
    torch = pytest.importorskip("torch")
    session, stream = built.open(), torch.cuda.Stream()
    inputs = _inputs(3)
    with torch.cuda.stream(stream):
        tensors = {name: torch.from_numpy(array).pin_memory().cuda(non_blocking=True) for name, array in inputs.items()}
        made = session.run_on_device(tensors, stream=stream.cuda_stream)["output"]
        doubled = torch.from_dlpack(made) * 2
    stream.synchronize()
    np.testing.assert_allclose(doubled.cpu().numpy(), 2 * _expected(inputs, built.weight), rtol=1e-4)


def test_a_recorded_loop_gives_what_its_parts_give(built):
    size = (SIDE, SIDE)
    schedule = SamplingSchedule(size, size, 4, 8, False, 4, "linspace", 1, {})
    gpu = DeviceBuffers(schedule, {name: built.open() for name in ("vae-decoder", "refiner")}, cuda.open_cuda(), 0)

    def body():
        first = gpu.call("vae-decoder", {"image": given["image"], "mask": given["mask"]}, "output", "first")
        return gpu.call("refiner", {"image": gpu.fixed("again", first), "mask": given["mask"]}, "output", "second")

    for seed in range(5):  # part by part, recorded, then launched
        given = {name: gpu.put(name, array) for name, array in _inputs(seed).items()}
        with warnings.catch_warnings():
            warnings.simplefilter("error", HarmonyWarning)  # that it cannot be recorded
            looped = gpu.fetch("refiner", gpu.loop("two", body))
        np.testing.assert_array_equal(looped, gpu.fetch("refiner", body()))
        once = {**_inputs(seed), "image": _expected(_inputs(seed), built.weight)}
        np.testing.assert_allclose(looped, _expected(once, built.weight), rtol=1e-3)


def test_sessions_of_several_threads_share_an_engine(built):
    wrong = []

    def work(seed):
        session = built.open()
        for turn in range(10):
            inputs = _inputs(100 * seed + turn)
            if not np.allclose(session.run(inputs)["output"], _expected(inputs, built.weight), rtol=1e-4):
                wrong.append((seed, turn))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_kernels_of_tensorrt_rtx_are_kept(built):
    if built.spec.target != "tensorrt-rtx":
        pytest.skip("TensorRT compiles when it builds")
    built.open().run(_inputs(0))
    assert list((built.folder / "kernels").glob("*.kernels"))


def test_a_broken_plan_is_one_sentence(built, tmp_path):
    broken = tmp_path / built.path.name
    broken.write_bytes(built.path.read_bytes()[:-64])
    file = dataclasses.replace(built.spec.files[0], sha256="0" * 64)
    spec = dataclasses.replace(built.spec, files=(file,))
    with pytest.raises(HarmonyError, match="build the bundle again"):
        tensorrt.open_session(broken, spec, None, SessionOptions())


def test_memory_is_given_back(built):
    torch = pytest.importorskip("torch")
    cuda.open_cuda().set_device(0)
    built.open().run(_inputs(0))
    before = torch.cuda.mem_get_info()[0]
    for seed in range(20):
        session = built.open()
        session.run(_inputs(seed))
        session.close()
    assert before - torch.cuda.mem_get_info()[0] < 64 << 20
