"""Which plans are opened here, and what is said of the others, without a GPU."""

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import SessionOptions, tensorrt
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions


def test_a_plan_that_does_not_open_is_one_sentence(world):
    spec = world.spec()
    path = world.folder / spec.files[0].path
    path.write_bytes(b"broken")
    with pytest.raises(HarmonyError, match=r"cannot open.*magic tag does not match; build the bundle again"):
        tensorrt.open_session(path, spec, None, SessionOptions())


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({"version": "10.3.0"}, ("found TensorRT 10.4.0, need 10.3.0", "run harmonyrt build")),
        ({"version": "10.5.0", "version_compatible": "true"}, ("found TensorRT 10.4.0, need 10.5.0 or newer",)),
        (
            {"compute_capability": "8.6"},
            ("found Fake RTX with compute capability 8.9, need 8.6", "run harmonyrt build"),
        ),
        ({"compute_capability": "9.0+"}, ("need 9.0+",)),
        ({"cuda": "14", "driver": "600"}, ("found a driver for CUDA 13, need CUDA 14: install driver 600",)),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_with_found_need_run(world, needs, words):
    reason = tensorrt.why_not(world.spec(**needs), SessionOptions())
    for part in words:
        assert part in reason
    with pytest.raises(HarmonyError, match="cannot run here"):
        world.open(**needs)


@pytest.mark.parametrize(
    "needs",
    [
        {},
        {"version": "10.4.0.26"},
        {"version": "10.2.0", "version_compatible": "true"},
        {"compute_capability": "8.6, 8.9"},
        {"compute_capability": "8.0+"},
    ],
)
def test_a_plan_that_fits_is_taken(world, needs):
    assert tensorrt.why_not(world.spec(**needs), SessionOptions()) is None


def test_devices_that_are_not_there_are_refused(world):
    spec = world.spec()
    assert "device 'cpu' was asked for" in tensorrt.why_not(spec, SessionOptions(device="cpu"))
    assert "found 1 GPU, need device cuda:3" in tensorrt.why_not(spec, SessionOptions(device="cuda:3"))
    world.cuda._count = 0
    assert "no usable NVIDIA GPU (none found)" in tensorrt.why_not(spec, SessionOptions())


def test_a_v100_is_told_what_to_install(world):
    world.cuda._capability = (7, 0)
    tensorrt_module = tensorrt_versions.load("tensorrt")
    tensorrt_module.__version__ = "10.9.0"
    reason = tensorrt.why_not(world.spec(version="10.9.0", compute_capability="7.0"), SessionOptions())
    assert "does not run on compute capability 7.0" in reason
    assert "tensorrt-cu12==10.4.0" in reason
    assert "docs/v100.md" in reason
