"""The CUDA kernels, run by the host's compiler (`tests/fakes/kernels.py`), against the NumPy path."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import sanitized_kernels
from fakes.kernels import BACKWARDS, FORWARDS, SANITIZERS, HostKernels, compile_shim
from fakes.pictures_in_memory import (
    DOCUMENT,
    FOLDER,
    SENTINEL,
    Memory,
    at,
    mask_plane,
    network,
    on_host,
    packed,
    picture,
    run,
    scratch_for,
    soft_mask,
    unpacked,
)
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.colour_maps import fit_maps
from harmonyrt.runtime.fit import Fitted, engine_size
from harmonyrt.runtime.fit import fit as fit_on_host
from harmonyrt.runtime.kernels import passes, structures
from harmonyrt.runtime.kernels.structures import Packed, Semiplanar, Sizes, Space
from harmonyrt.runtime.resample import resample
from harmonyrt.video.change import apply_change, change_of
from harmonyrt.video.colours import ColourSpace, Tags, colour_space

PLAIN = [
    case
    for case in DOCUMENT["cases"]
    if not {"keep", "match"} & set(case)
    and Image.open(FOLDER / case["composite"]).mode == "RGB"
    and case["foreground_ratio"] > 0
]


@pytest.fixture(scope="module")
def manifests():
    return {
        name: Harmonizer.open(FOLDER / name, backend="onnxruntime", threads=1)._manifest
        for name in ("hand-made-64", "hand-made-dynamic")
    }


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case["name"])
def test_a_picture_is_that_of_the_shared_vectors(case, manifests):
    composite, mask, expected = (
        np.asarray(Image.open(FOLDER / case[what])) for what in ("composite", "mask", "harmonized")
    )
    memory, manifest = Memory(), manifests[case["bundle"]]
    frame, result = packed(memory, composite), packed(memory, np.full_like(composite, SENTINEL))
    size = engine_size(manifest, *mask.shape)
    run(
        memory,
        frame,
        mask_plane(memory, mask),
        result,
        size,
        manifest.binary_mask,
        case.get("strength", 1.0),
    )
    found = unpacked(result)
    assert np.abs(found.astype(int) - expected).max() <= DOCUMENT["tolerance"]
    np.testing.assert_array_equal(found[mask == 0], composite[mask == 0])
    np.testing.assert_array_equal(unpacked(frame), composite)


@pytest.mark.parametrize("source", [(9, 15), (64, 64), (41, 150), (150, 64), (301, 77)], ids=str)
@pytest.mark.parametrize("target", [(64, 64), (8, 136)], ids=str)
def test_resizing_is_the_triangle_filter(source, target):
    memory, array = Memory(), picture(*source)
    shrunk = memory.allocate(target[0] * source[1] * 3 * 4)
    result = memory.allocate(target[0] * target[1] * 3 * 4)
    passes.resize(HostKernels.open(), packed(memory, array).plane, shrunk, result, target, 0)
    memory.check()
    np.testing.assert_allclose(at(result, (*target, 3)), resample(array, *target), atol=1e-4 * 255, rtol=0)


@pytest.mark.parametrize("mask", [soft_mask(90, 120), np.full((90, 120), 255, np.uint8)], ids=["soft", "full"])
@pytest.mark.parametrize("size", [(64, 64), (72, 96), (8, 64)], ids=str)
def test_maps_are_those_of_the_host(mask, size):
    memory, composite = Memory(), picture(90, 120)
    frame = packed(memory, composite)
    scratch = run(memory, frame, mask_plane(memory, mask), frame, size)
    fitted, output, _ = on_host(composite, mask, size)
    np.testing.assert_allclose(at(scratch.image, (3, *size)), fitted.image, atol=2e-6)
    np.testing.assert_allclose(at(scratch.coverage, size), fitted.mask, atol=2e-6)
    np.testing.assert_array_equal(at(scratch.mask, size), fitted.network_mask)
    maps = fit_maps(fitted, output)
    np.testing.assert_allclose(at(scratch.maps, (3, 3)), maps.matrix, atol=2e-4)
    cells = at(scratch.cells, (*maps.scale.shape[:2], 6))
    np.testing.assert_allclose(cells[..., :3], maps.scale, atol=2e-4)
    np.testing.assert_allclose(cells[..., 3:], maps.shift, atol=0.02)


@pytest.mark.parametrize(
    ("where", "size"),
    [((2, 2), 1), ((17, 33), 1), ((5, 5), 2), ((61, 62), 2)],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_a_foreground_too_small_for_the_pyramid_is_spread_as_on_the_host(where, size):
    mask = np.zeros((64, 64), np.uint8)
    mask[where[0] : where[0] + size, where[1] : where[1] + size] = 90
    memory, composite = Memory(), picture(64, 64)
    frame = packed(memory, composite)
    scratch = run(memory, frame, mask_plane(memory, mask), packed(memory, composite), (64, 64), True)
    np.testing.assert_array_equal(at(scratch.mask, (64, 64)), fit_on_host(composite, mask, (64, 64), True).network_mask)


@pytest.mark.parametrize("size", [(100, 140), (64, 64)], ids=["maps", "engine's size"])
@pytest.mark.parametrize("layout", ["RGB", "BGR", "RGBA", "BGRA", "RGB, 16 bits"])
@pytest.mark.parametrize("in_place", [False, True], ids=["new", "in place"])
def test_every_layout_gives_the_same(layout, size, in_place):
    composite, mask = picture(*size, dtype=np.uint16 if "16" in layout else np.uint8), soft_mask(*size)
    expected = on_host(composite, mask, (64, 64), strength=0.75)[2]
    given, bgr = composite, layout.startswith("BGR")
    if layout.endswith("A"):
        given = np.dstack([composite, np.full(size, 255, np.uint8)])
        expected = np.dstack([expected, given[..., 3]])
    order = [2, 1, 0, 3][: given.shape[2]] if bgr else slice(None)
    memory = Memory()
    pitch = -(-given[0].nbytes // 64) * 64 + 64
    frame = packed(memory, given[..., order], pitch, bgr)
    result = frame if in_place else packed(memory, np.full_like(given, SENTINEL), pitch + 32, bgr)
    run(memory, frame, mask_plane(memory, mask, 256), result, (64, 64), True, 0.75)
    found = unpacked(result, given.dtype)[..., order]
    assert np.abs(found.astype(int) - expected).max() <= (257 if given.dtype == np.uint16 else 1)
    np.testing.assert_array_equal(found[mask == 0], given[mask == 0])


def test_16_bits_are_not_8_in_disguise():
    composite, mask = picture(90, 70, dtype=np.uint16), soft_mask(90, 70)
    memory = Memory()
    result = packed(memory, np.zeros_like(composite))
    run(memory, packed(memory, composite), mask_plane(memory, mask), result, (64, 64), True)
    difference = unpacked(result, np.uint16).astype(int) - on_host(composite, mask, (64, 64))[2]
    assert np.abs(difference).max() <= 8  # of 65535: a thirtieth of a level of 8 bits


@dataclass
class Video:
    """A frame of NV12 or P010 in memory, and the planes that NumPy's path takes."""

    frame: Semiplanar
    planes: list[np.ndarray]
    space: ColourSpace


def video(memory, size, bits, space):
    height, width = size
    small = (-(-height // 2), -(-width // 2))
    values = (picture(height, width, 1, seed=3)[..., 0], picture(*small, 2, seed=4))
    scale = (1 << (bits - 8)) * 0.8
    values = [(values[0] * scale).astype(np.uint16), ((values[1] * 0.3 + 90) * (1 << (bits - 8))).astype(np.uint16)]
    stored = [value.astype(np.uint8) if bits == 8 else value << (16 - bits) for value in values]
    luma = packed(memory, stored[0][..., None], width * (1 + (bits > 8)) + 32).plane
    chroma = packed(memory, stored[1], small[1] * 2 * (1 + (bits > 8)) + 64).plane
    for plane in (luma, chroma):
        plane.shift, plane.highest = (16 - bits if bits > 8 else 0), (1 << bits) - 1
    kind = np.uint8 if bits == 8 else np.uint16
    planes = [values[0].astype(kind), *(np.ascontiguousarray(values[1][..., k]).astype(kind) for k in (0, 1))]
    return Video(Semiplanar(luma, chroma, Space.of(space)), planes, space)


@pytest.mark.parametrize("bits", [8, 10], ids=["NV12", "P010"])
@pytest.mark.parametrize("size", [(96, 128), (75, 101), (64, 64), (20, 24)], ids=str)
@pytest.mark.parametrize("matrix", [(1, 1), (5, 2)], ids=["BT.709 limited", "BT.601 full"])
@pytest.mark.parametrize("in_place", [False, True], ids=["new", "in place"])
def test_video_frames_are_changed_in_their_own_planes(bits, size, matrix, in_place):
    memory, mask = Memory(), soft_mask(*size)
    space = colour_space(Tags(matrix=matrix[0], range=matrix[1]), "yuv", bits, (size[1], size[0]))
    given, target = video(memory, size, bits, space), video(memory, size, bits, space)
    target = given if in_place else target
    before = [plane.copy() for plane in given.planes]
    engine = (64, 64)
    scratch = run(memory, given.frame, mask_plane(memory, mask), target.frame, engine, False, 0.9)

    small = [resample(plane[..., None], *engine)[..., 0] for plane in given.planes]
    rgb = (np.stack(small, -1) - space.offset) @ space.to_rgb / 255
    image = np.clip(rgb, 0, 1).transpose(2, 0, 1).astype(np.float32)
    coverage = resample(mask[..., None], *engine)[..., 0] / 255
    np.testing.assert_allclose(at(scratch.image, (3, *engine)), image, atol=1e-5)
    maps = fit_maps(Fitted(image, coverage, coverage), network(image, coverage))
    planes = [plane.copy() for plane in before]
    apply_change(planes, mask, change_of(maps, space, 0.9))

    kind = np.uint8 if bits == 8 else np.uint16
    shift = 16 - bits if bits > 8 else 0
    found = [unpacked(Packed(plane), kind) >> shift for plane in target.frame.parts]
    found = [found[0][..., 0], found[1][..., 0], found[1][..., 1]]
    for new, expected, old in zip(found, planes, before, strict=True):
        assert np.abs(new.astype(int) - expected).max() <= 1
        assert np.abs(new.astype(int) - old).max() > 3
    np.testing.assert_array_equal(found[0][mask == 0], before[0][mask == 0])
    if bits > 8:
        for plane in target.frame.parts:
            assert not (unpacked(Packed(plane), kind) & ((1 << shift) - 1)).any()


@pytest.mark.parametrize("kind", ["packed", "NV12", "engine's size"])
def test_no_order_of_blocks_and_threads_changes_a_byte(kind):
    size = (64, 64) if kind == "engine's size" else (75, 101)
    results = []
    for order in (FORWARDS, BACKWARDS, 2, 3, 4):
        memory, mask = Memory(), soft_mask(*size)
        if kind == "NV12":
            space = colour_space(Tags(matrix=1, range=1), "yuv", 8, (size[1], size[0]))
            frame = video(memory, size, 8, space).frame
        else:
            frame = packed(memory, picture(*size))
        scratch = run(memory, frame, mask_plane(memory, mask), frame, (64, 64), order=order)
        everything = [unpacked(Packed(plane)) for plane in frame.parts]
        if kind != "engine's size":
            everything += [at(scratch.maps, 88, np.uint8), at(scratch.cells, scratch.sizes.cells * 24, np.uint8)]
        results.append([part.tobytes() for part in everything])
    assert all(result == results[0] for result in results)


def test_a_missing_barrier_would_be_noticed(tmp_path):
    HostKernels.open()  # or skip
    compile_shim(tmp_path / "kernels.so", "-DWITHOUT_BARRIERS")
    found = set()
    for order in (FORWARDS, BACKWARDS):
        memory = Memory()
        frame, mask = packed(memory, picture(75, 101)), mask_plane(memory, soft_mask(75, 101))
        kernels = HostKernels(tmp_path / "kernels.so", order)
        scratch = run(memory, frame, mask, frame, (64, 64), launcher=kernels)
        found.add(at(scratch.maps, 88, np.uint8).tobytes())
    assert len(found) == 2


def test_what_was_in_the_memory_before_changes_nothing():
    """Else something is read that nobody wrote: on a GPU, what an earlier picture left. 0xFF is NaN in every float."""
    results = []
    for fill in (0, 0xFF, SENTINEL):
        memory, mask = Memory(fill=fill), soft_mask(75, 101)
        frames = [packed(memory, picture(75, 101)), packed(memory, picture(64, 64))]
        space = colour_space(Tags(matrix=1, range=1), "yuv", 8, (101, 75))
        frames.append(video(memory, (75, 101), 8, space).frame)
        for frame in frames:
            levels = mask_plane(memory, mask if frame.size == mask.shape else soft_mask(64, 64))
            run(memory, frame, levels, frame, (64, 64))
        results.append([unpacked(Packed(plane)).tobytes() for frame in frames for plane in frame.parts])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("size", [(100, 140), (64, 64)], ids=["maps", "engine's size"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_leaves_the_composite_and_is_counted(size, bad):
    composite, mask = picture(*size), soft_mask(*size)
    memory = Memory()
    frame, result = packed(memory, composite), packed(memory, np.zeros_like(composite))

    def broken(image, network_mask):
        output = network(image, network_mask)
        output[1, 0, 63] = bad  # outside the foreground too: the engine is not to be trusted
        return output

    scratch = run(memory, frame, mask_plane(memory, mask), result, (64, 64), True, 1, broken)
    np.testing.assert_array_equal(unpacked(result), composite)
    assert at(scratch.state + structures.FAILURES_OFFSET, 1, np.int32)[0] == 1


def test_one_failure_does_not_stay():
    composite, mask = picture(100, 140), soft_mask(100, 140)
    memory, launcher = Memory(), HostKernels.open()
    frame, result = packed(memory, composite), packed(memory, np.zeros_like(composite))
    scratch = scratch_for(memory, Sizes.of(64, 64), frame)
    for bad in (True, False):
        passes.fit(launcher, frame, mask_plane(memory, mask), True, scratch, 0)
        answer = network(at(scratch.image, (3, 64, 64)), at(scratch.mask, (64, 64)))
        at(scratch.output, (3, 64, 64))[:] = np.nan if bad else answer
        passes.apply(launcher, frame, mask_plane(memory, mask), result, 1.0, scratch, 0)
    expected = on_host(composite, mask, (64, 64))[2]
    assert np.abs(unpacked(result).astype(int) - expected).max() <= 1
    assert at(scratch.state + structures.FAILURES_OFFSET, 1, np.int32)[0] == 1


def test_an_empty_mask_leaves_everything():
    composite, mask = picture(50, 40), np.zeros((50, 40), np.uint8)
    memory = Memory()
    result = packed(memory, np.zeros_like(composite))
    scratch = run(memory, packed(memory, composite), mask_plane(memory, mask), result, (64, 64), True)
    np.testing.assert_array_equal(unpacked(result), composite)
    assert not at(scratch.mask, (64, 64)).any()
    assert np.isfinite(at(scratch.cells, scratch.sizes.cells * 6)).all()
    np.testing.assert_allclose(at(scratch.maps, (3, 3)), np.eye(3), atol=1e-6)


def test_structures_are_those_of_the_source():
    expected = [ctypes.sizeof(structures.Plane), ctypes.sizeof(structures.Space), structures.MAPS_BYTES]
    expected += [ctypes.sizeof(structures.Sizes), structures.STATE_BYTES]
    assert HostKernels.open().sizes() == expected


@pytest.mark.parametrize("size", [(65535, 8), (8, 65535)], ids=str)
def test_the_longest_sides_stay_within_whole_numbers(size):
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 3 : size[0] // 2 + 1, size[1] // 3 : size[1] // 2 + 1] = 255
    target = (structures.LONGEST_ENGINE_SIDE, 8) if size[0] > 8 else (8, structures.LONGEST_ENGINE_SIDE)
    memory = Memory()
    shrunk, result = memory.allocate(target[0] * size[1] * 4), memory.allocate(target[0] * target[1] * 4)
    passes.resize(HostKernels.open(), mask_plane(memory, mask), shrunk, result, target, 0)
    np.testing.assert_allclose(at(result, (*target, 1)), resample(mask[..., None], *target), atol=0.03)


def test_the_shim_finds_faults():
    launcher = HostKernels.open()
    state = np.zeros(4, np.int32)
    arguments = (ctypes.c_void_p(state.ctypes.data),)
    with pytest.raises(AssertionError, match="no such kernel"):
        launcher.launch("polish", (1, 1, 1), (1, 1, 1), arguments)
    with pytest.raises(AssertionError, match="outside CUDA's limits"):
        launcher.launch("begin", (1, 1, 1), (1025, 1, 1), arguments)
    with pytest.raises(AssertionError, match="outside CUDA's limits"):
        launcher.launch("begin", (1, 65536, 1), (1, 1, 1), arguments)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """Runs sanitized_kernels.py over a build with AddressSanitizer and UndefinedBehaviorSanitizer."""
    HostKernels.open()  # or skip
    library = tmp_path_factory.mktemp("sanitized") / "kernels.so"
    compile_shim(library, *SANITIZERS)
    runtime = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    environment = os.environ | {
        "LD_PRELOAD": str(Path(runtime).resolve()),
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    script = Path(sanitized_kernels.__file__)

    def run_it(*arguments):
        command = [sys.executable, str(script), str(library), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run_it


def test_sanitizers_find_nothing(sanitized):
    done = sanitized()
    assert done.returncode == 0, done.stderr[-4000:]
    said = [line for line in done.stderr.splitlines() if "fully support makecontext" not in line]
    assert not said  # fibers are only known not to be followed everywhere
    assert done.stdout.split() == [sanitized_kernels.results(HostKernels.open())] * 2


def test_sanitizers_would_find_a_row_too_many(sanitized):
    done = sanitized("--overrun")
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
    assert "resize_rows" in done.stderr
