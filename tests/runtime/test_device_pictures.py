"""Whole pictures in device memory: kernels, engine and streams, with CUDA simulated and the kernels really computed."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import numpy as np
import pytest

from fakes import cuda as simulation
from fakes import cuda_engines
from fakes.kernels import HostKernels
from fakes.pictures_in_memory import network, on_host, picture, soft_mask
from harmonyrt.benchmarks.studies import device_pictures
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.device_arrays import DeviceArray
from harmonyrt.runtime.kernels import nvrtc
from harmonyrt.runtime.network import FeedForward
from harmonyrt.video.colours import Tags, colour_space

SIDE = 64


@pytest.fixture(scope="module")
def cubin():
    """Compiled once for the whole file, as if every compilation took no time."""
    if not nvrtc.installed():
        pytest.skip("no NVRTC (pip install 'harmonyrt[kernels]')")
    return nvrtc.fitting((8, 9), 13).compile((8, 9))


@dataclasses.dataclass
class World:
    """A simulated GPU with an engine on it."""

    cuda: simulation.SimulatedCuda
    harmonizer: Harmonizer
    engine: cuda_engines.SimulatedEngine
    compiled: list[Any]
    answer: Any = network

    def put(self, array: np.ndarray) -> DeviceArray:
        array = np.ascontiguousarray(array)
        address = self.cuda.allocate(array.nbytes)
        simulation.view(address, array.shape, array.dtype)[:] = array
        return DeviceArray(address, array.shape, array.dtype)

    def get(self, array: Any) -> np.ndarray:
        return simulation.view(array.address, array.shape, array.dtype).copy()

    def empty_like(self, array: DeviceArray) -> DeviceArray:
        return self.put(np.full(array.shape, 0xA5, array.dtype))


@pytest.fixture
def world(monkeypatch, tmp_path, static_bundle, cubin):
    HostKernels.open()  # or skip
    return make_world(monkeypatch, tmp_path, static_bundle, cubin)


def make_world(monkeypatch, tmp_path, bundle, cubin, target="tensorrt"):
    device = simulation.SimulatedCuda()
    monkeypatch.setattr(cuda, "open_cuda", lambda: device)
    compiled = []
    monkeypatch.setattr(nvrtc.Nvrtc, "compile", lambda self, capability: compiled.append(capability) or cubin)
    float32 = np.float32

    def compute(feeds):
        return {"output": world.answer(feeds["image"][0], feeds["mask"][0, 0])[None]}

    engine = cuda_engines.SimulatedEngine(
        device,
        {"image": ((1, 3, SIDE, SIDE), float32), "mask": ((1, 1, SIDE, SIDE), float32)},
        {"output": ((1, 3, SIDE, SIDE), float32)},
        compute,
    )
    plain = Harmonizer.open(bundle, backend="onnxruntime", threads=1)
    session = cuda_engines.open_session(engine, target)
    selected = dataclasses.replace(plain._network.selected, session=session)
    network_on_gpu = FeedForward(plain._manifest, selected, str(tmp_path / "cache"))
    world = World(device, Harmonizer(plain._manifest, network_on_gpu, plain.info, None), engine, compiled)
    return world


def test_a_picture_goes_in_and_comes_out_and_is_one_launch_later(world):
    composite, mask = picture(100, 140), soft_mask(100, 140)
    given, levels = world.put(composite), world.put(mask)
    out = world.empty_like(given)
    for turn in range(4):
        simulation.view(out.address, out.shape, np.uint8)[:] = 0xA5
        before = len(world.cuda.log)
        result = world.harmonizer.harmonize_on_device(given, levels, out)
        assert result is out
        np.testing.assert_array_less(np.abs(world.get(out).astype(int) - on_host(composite, mask, (SIDE, SIDE))[2]), 2)
        np.testing.assert_array_equal(world.get(out)[mask == 0], composite[mask == 0])
        done = [entry[0] for entry in world.cuda.log[before:]]
        if turn >= 2:  # the first ran plainly, the second was recorded
            assert "kernel" not in done
            assert done.count("launch") == 1
        assert turn == 0 or "up" not in done
        assert done.count("down") == (turn < 2)  # the count of failures: in the recording afterwards


def test_what_was_recorded_reads_what_is_there_now(world):
    mask = soft_mask(100, 140)
    given, levels = world.put(picture(100, 140)), world.put(mask)
    out = world.empty_like(given)
    for seed in range(4):
        composite = picture(100, 140, seed=seed)
        simulation.view(given.address, given.shape, np.uint8)[:] = composite
        world.harmonizer.harmonize_on_device(given, levels, out)
        np.testing.assert_array_less(np.abs(world.get(out).astype(int) - on_host(composite, mask, (SIDE, SIDE))[2]), 2)


def test_a_new_result_is_made_where_none_is_given(world):
    composite, mask = picture(70, 90), soft_mask(70, 90)
    result = world.harmonizer.harmonize_on_device(world.put(composite), world.put(mask), strength=0.5)
    expected = on_host(composite, mask, (SIDE, SIDE), strength=0.5)[2]
    np.testing.assert_array_less(np.abs(world.get(result).astype(int) - expected), 2)
    assert result.__cuda_array_interface__["shape"] == (70, 90, 3)
    address = result.address
    del result
    gc.collect()
    assert address not in world.cuda.blocks


class Pitched:
    """Rows of a wider picture, as libraries share them: a view that is not contiguous."""

    def __init__(self, array: DeviceArray, width: int, stream: int | None = None) -> None:
        shape = (array.shape[0], width, *array.shape[2:])
        strides = (array.nbytes // array.shape[0], *np.empty(shape[1:], array.dtype).strides)
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": array.dtype.str, "data": (array.address, False), "strides": strides,
            "version": 3, "stream": stream,
        }  # fmt: skip


def test_rows_may_lie_apart_and_what_is_between_stays(world):
    wide, mask = picture(80, 128, 4), soft_mask(80, 128)
    given, levels = world.put(wide), world.put(mask)
    arrays = [Pitched(one, 100) for one in (given, levels, given)]
    world.harmonizer.harmonize_on_device(*arrays, bgr=True, opaque=True)
    composite = wide[:, :100, 2::-1]
    expected = on_host(composite, mask[:, :100], (SIDE, SIDE))[2]
    found = world.get(given)
    np.testing.assert_array_less(np.abs(found[:, :100, 2::-1].astype(int) - expected), 2)
    np.testing.assert_array_equal(found[:, 100:], wide[:, 100:])
    np.testing.assert_array_equal(found[..., 3], wide[..., 3])


def test_a_video_frame_stays_in_its_planes(world):
    space = colour_space(Tags(matrix=1, range=1), "yuv", 8, (96, 64))
    random = np.random.default_rng(0)
    luma, chroma = random.integers(40, 200, (64, 96), np.uint8), random.integers(100, 150, (32, 48, 2), np.uint8)
    mask = soft_mask(64, 96)
    given = (world.put(luma), world.put(chroma))
    new = world.harmonizer.harmonize_on_device(given, world.put(mask), space=space)
    assert [part.shape for part in new] == [(64, 96), (32, 48, 2)]
    changed = world.get(new[0])
    np.testing.assert_array_equal(changed[mask == 0], luma[mask == 0])
    assert (changed != luma).any()
    still = mask.reshape(32, 2, 48, 2).max((1, 3)) == 0
    np.testing.assert_array_equal(world.get(new[1])[still], chroma[still])


def test_primaries_that_would_be_taken_for_srgbs_are_refused(world):
    given = (world.put(np.full((64, 96), 90, np.uint8)), world.put(np.full((32, 48, 2), 120, np.uint8)))
    wide = colour_space(Tags(matrix=9, range=1, primaries=9), "yuv", 8, (96, 64))
    with pytest.raises(HarmonyError, match="primaries far from sRGB's"):
        world.harmonizer.harmonize_on_device(given, world.put(soft_mask(64, 96)), space=wide)


def test_it_runs_in_the_order_of_the_callers_stream(world):
    composite, mask = picture(100, 140), soft_mask(100, 140)
    given, levels = world.put(np.zeros_like(composite)), world.put(mask)
    out, later = world.empty_like(given), world.empty_like(given)
    stream = world.cuda.create_stream()
    for _ in range(3):
        source = world.put(composite)
        simulation.view(given.address, given.shape, np.uint8)[:] = 0
        world.cuda.copy(given.address, source.address, given.nbytes, stream)
        world.harmonizer.harmonize_on_device(given, levels, out, stream=stream, wait=False)
        world.cuda.copy(later.address, out.address, out.nbytes, stream)
        world.cuda.synchronize(stream)
        found = world.get(later).astype(int)
        np.testing.assert_array_less(np.abs(found - on_host(composite, mask, (SIDE, SIDE))[2]), 2)


@pytest.mark.parametrize("turns", [2, 4], ids=["recorded", "launched"])
def test_other_runs_of_the_engine_wait_for_what_was_left_on_the_gpu(world, turns):
    """An execution context must not run twice at once: the results would be wrong without a word."""
    composite, mask = picture(100, 140), soft_mask(100, 140)
    given, levels = world.put(composite), world.put(mask)
    out = world.empty_like(given)
    for _ in range(turns):
        simulation.view(out.address, out.shape, np.uint8)[:] = 0xA5
        world.harmonizer.harmonize_on_device(given, levels, out, stream=world.cuda.create_stream(), wait=False)
    world.harmonizer.harmonize(composite, mask)
    np.testing.assert_array_less(np.abs(world.get(out).astype(int) - on_host(composite, mask, (SIDE, SIDE))[2]), 2)


def test_a_caller_records_it_into_a_graph_of_its_own(world):
    composite, mask = picture(100, 140), soft_mask(100, 140)
    given, levels = world.put(composite), world.put(mask)
    out, stream = world.empty_like(given), world.cuda.create_stream()
    call = world.harmonizer.harmonize_on_device
    world.cuda.begin_capture(stream)
    with pytest.raises(HarmonyError, match="run it once before"):
        call(given, levels, out, stream=stream)
    world.cuda.abandon_capture(stream)
    call(given, levels, out, stream=stream)
    world.cuda.begin_capture(stream)
    with pytest.raises(HarmonyError, match="give out"):
        call(given, levels, stream=stream)
    with pytest.raises(HarmonyError, match="run it once before"):
        call(given, levels, given, stream=stream)
    call(given, levels, out, stream=stream)
    graph = world.cuda.end_capture(stream)
    for seed in (5, 6):
        composite = picture(100, 140, seed=seed)
        simulation.view(given.address, given.shape, np.uint8)[:] = composite
        world.cuda.launch(graph, stream)
        world.cuda.synchronize(stream)
        np.testing.assert_array_less(np.abs(world.get(out).astype(int) - on_host(composite, mask, (SIDE, SIDE))[2]), 2)


@pytest.mark.parametrize("wait", [True, False])
def test_an_answer_that_is_not_finite_is_said_and_the_composite_kept(world, wait):
    composite, mask = picture(100, 140), soft_mask(100, 140)
    given, levels = world.put(composite), world.put(mask)
    out = world.empty_like(given)
    call = world.harmonizer.harmonize_on_device
    world.answer = lambda image, network_mask: np.full_like(image, np.nan)
    if wait:
        with pytest.raises(WorkFailed, match="not finite, and the composite was returned unchanged"):
            call(given, levels, out)
    else:
        call(given, levels, out, wait=False)
        world.cuda.finish()
    np.testing.assert_array_equal(world.get(out), composite)
    world.answer = network
    if not wait:
        with pytest.raises(WorkFailed, match="not finite"):
            call(given, levels, out)
    call(given, levels, out)
    np.testing.assert_array_less(np.abs(world.get(out).astype(int) - on_host(composite, mask, (SIDE, SIDE))[2]), 2)


def test_an_engine_that_cannot_be_recorded_runs_plainly(monkeypatch, tmp_path, static_bundle, cubin):
    HostKernels.open()
    world = make_world(monkeypatch, tmp_path, static_bundle, cubin, "tensorrt-rtx")
    composite, mask = picture(100, 140), soft_mask(100, 140)
    given, levels = world.put(composite), world.put(mask)
    for _ in range(3):
        result = world.harmonizer.harmonize_on_device(given, levels)
        expected = on_host(composite, mask, (SIDE, SIDE))[2]
        np.testing.assert_array_less(np.abs(world.get(result).astype(int) - expected), 2)
    assert world.cuda.count_of("record_graph") == 0


def test_many_sizes_do_not_fill_the_memory(world):
    blocks = []
    for k in range(7):
        composite, mask = picture(20 + k, 30 + k), soft_mask(20 + k, 30 + k)
        given, levels = world.put(composite), world.put(mask)
        out = world.empty_like(given)
        for _ in range(2):
            world.harmonizer.harmonize_on_device(given, levels, out)
        expected = on_host(composite, mask, (SIDE, SIDE))[2]
        np.testing.assert_array_less(np.abs(world.get(out).astype(int) - expected), 2)
        world.cuda.finish()
        for array in (given, levels, out):
            world.cuda.free(array.address)
        blocks.append(len(world.cuda.blocks))
    assert max(blocks) <= blocks[3]


def test_everything_is_given_back(world):
    given, levels = world.put(picture(50, 60)), world.put(soft_mask(50, 60))
    for _ in range(2):
        world.harmonizer.harmonize_on_device(given, levels, given)
    world.harmonizer.close()
    gc.collect()
    assert set(world.cuda.blocks) == {given.address, levels.address}
    assert not world.cuda.modules
    assert not world.cuda.graphs


def test_the_kernels_are_compiled_once_and_kept(world, monkeypatch, tmp_path, static_bundle, cubin):
    given, levels = world.put(picture(50, 60)), world.put(soft_mask(50, 60))
    world.harmonizer.harmonize_on_device(given, levels)
    world.harmonizer.harmonize_on_device(given, levels)
    assert world.compiled == [(8, 9)]
    again = make_world(monkeypatch, tmp_path, static_bundle, cubin)
    again.harmonizer.harmonize_on_device(again.put(picture(50, 60)), again.put(soft_mask(50, 60)))
    assert again.compiled == []


def test_kept_code_that_the_driver_does_not_take_is_compiled_again(world, monkeypatch, tmp_path, static_bundle, cubin):
    world.harmonizer.harmonize_on_device(world.put(picture(50, 60)), world.put(soft_mask(50, 60)))
    again = make_world(monkeypatch, tmp_path, static_bundle, cubin)
    load, refused = again.cuda.load_module, []

    def refuse_once(code):
        if not refused:
            refused.append(code)
            raise WorkFailed("CUDA's cuModuleLoadData failed: no kernel image is available")
        return load(code)

    again.cuda.load_module = refuse_once
    again.harmonizer.harmonize_on_device(again.put(picture(50, 60)), again.put(soft_mask(50, 60)))
    assert again.compiled == [(8, 9)]


def test_sources_options_gpu_and_compiler_are_in_the_caches_key():
    from harmonyrt.runtime.kernels.loaded import cache_key

    assert cache_key((8, 9), (13, 5)) != cache_key((8, 6), (13, 5))
    assert cache_key((8, 9), (13, 5)) != cache_key((8, 9), (12, 9))
    assert cache_key((8, 9), (13, 5))["files"] == nvrtc.sources_sha256()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"composite": np.zeros((50, 60, 3), np.uint8)}, "composite is a ndarray, which is not in device memory"),
        ({"mask": np.zeros((50, 60), np.uint8)}, "mask is a ndarray, which is not in device memory"),
        ({"composite": ((50, 60), "u1")}, r"shape \(50, 60\): give height x width x 3"),
        ({"composite": ((50, 60, 3), "f4")}, "composite is float32: give uint8 or uint16"),
        ({"mask": ((50, 61), "u1")}, r"mask has shape \(50, 61\), the composite \(50, 60\)"),
        ({"mask": ((50, 60), "f4")}, "mask is float32: give uint8"),
        ({"out": ((50, 60, 4), "u1")}, "out is uint8 .* and the composite uint8"),
        ({"composite": ((50, 60, 4), "u1")}, "transparency is not looked at on the GPU: say opaque=True"),
        ({"strength": 2.0}, "the strength is 2; give 0"),
        ({"composite": ((1, 65536, 3), "u1"), "mask": ((1, 65536), "u1")}, "give sides of 1 to 65535"),
    ],
)
def test_what_does_not_fit_is_one_sentence(world, change, words):
    arguments = {"composite": ((50, 60, 3), "u1"), "mask": ((50, 60), "u1")} | change
    for name, value in arguments.items():
        if isinstance(value, tuple):
            arguments[name] = world.put(np.zeros(value[0], value[1]))
    with pytest.raises(HarmonyError, match=words):
        world.harmonizer.harmonize_on_device(**arguments)


def test_video_that_does_not_fit_is_one_sentence(world):
    space = colour_space(Tags(matrix=1, range=1), "yuv", 8, (60, 50))
    mask = world.put(np.zeros((50, 60), np.uint8))
    luma, chroma = world.put(np.zeros((50, 60), np.uint8)), world.put(np.zeros((25, 30, 2), np.uint8))
    call = world.harmonizer.harmonize_on_device
    with pytest.raises(HarmonyError, match=r"no colour space.*give \(luma, chroma\) and space="):
        call((luma, chroma), mask)
    with pytest.raises(HarmonyError, match="half of both"):
        call((luma, luma), mask, space=space)
    with pytest.raises(HarmonyError, match="colour space is of 10 bits"):
        call((luma, chroma), mask, space=colour_space(Tags(matrix=1, range=1), "yuv", 10, (60, 50)))
    with pytest.raises(HarmonyError, match="was given: that is for"):
        call(world.put(np.zeros((50, 60, 3), np.uint8)), mask, space=space)


def test_an_engine_on_the_cpu_is_one_sentence(static_bundle):
    harmonizer = Harmonizer.open(static_bundle, backend="onnxruntime", threads=1)
    somewhere = DeviceArray(4096, (50, 60, 3), np.dtype(np.uint8))
    with pytest.raises(HarmonyError, match="need an engine on a GPU, and this one runs on cpu with onnxruntime"):
        harmonizer.harmonize_on_device(somewhere, DeviceArray(4096, (50, 60), np.dtype(np.uint8)))


def test_without_nvrtc_it_is_found_need_run(world, monkeypatch):
    monkeypatch.setattr(nvrtc, "installed", lambda: ())
    with pytest.raises(HarmonyError, match=r"found none: run pip install 'harmonyrt\[kernels\]'"):
        world.harmonizer.harmonize_on_device(world.put(picture(50, 60)), world.put(soft_mask(50, 60)))


def test_arrays_of_a_gpu_are_pointed_to_it_by_harmonize(static_bundle):
    harmonizer = Harmonizer.open(static_bundle, backend="onnxruntime", threads=1)
    somewhere, host = DeviceArray(4096, (50, 60, 3), np.dtype(np.uint8)), np.zeros((50, 60, 3), np.uint8)
    for arguments in ((somewhere, host[..., 0]), (host, somewhere)):
        with pytest.raises(HarmonyError, match=r"in a GPU's memory: harmonize_on_device\(\) takes it there"):
            harmonizer.harmonize(*arguments)


def test_the_study_compares_both_ways(world):
    (row,) = device_pictures.measure(world.harmonizer, {"small": (60, 80)}, rounds=1)
    assert row["size"] == "small"
    assert row["on_device"] > 0
    assert row["host_to_host"] > 0
    assert row["largest_difference"] <= 1
