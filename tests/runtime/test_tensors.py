import numpy as np
import pytest

from harmonyrt.runtime import Harmonizer, HarmonyError


@pytest.fixture(scope="module")
def static(static_bundle):
    return Harmonizer.open(static_bundle, backend="onnxruntime", threads=1)


@pytest.fixture(scope="module")
def arrays():
    random = np.random.default_rng(0)
    return random.random((1, 3, 64, 64), np.float32), (random.random((1, 1, 64, 64)) > 0.5).astype(np.float32)


def test_numpy_in_numpy_out(static, arrays):
    image, _ = arrays
    found = static.run_tensor(*arrays)
    assert isinstance(found, np.ndarray)
    assert found.shape == image.shape
    assert found.dtype == np.float32


def test_a_torch_tensor_comes_back_as_one(static, arrays):
    torch = pytest.importorskip("torch")
    found = static.run_tensor(*(torch.from_numpy(array) for array in arrays))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), static.run_tensor(*arrays))


def test_anything_with_dlpack_is_taken(static, arrays):
    class Foreign:
        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    found = static.run_tensor(*map(Foreign, arrays))
    np.testing.assert_array_equal(np.from_dlpack(found), static.run_tensor(*arrays))


def test_the_result_can_be_written_into_memory_of_the_callers(static, arrays):
    out = np.empty((1, 3, 64, 64), np.float32)
    assert static.run_tensor(*arrays, out=out) is out
    np.testing.assert_array_equal(out, static.run_tensor(*arrays))


def test_a_dynamic_engine_takes_batches_and_sizes(dynamic_bundle):
    harmonizer = Harmonizer.open(dynamic_bundle, backend="onnxruntime", threads=1)
    image, mask = np.zeros((3, 3, 40, 72), np.float32), np.zeros((3, 1, 40, 72), np.float32)
    assert harmonizer.run_tensor(image, mask).shape == image.shape
    with pytest.raises(HarmonyError, match="multiples of 8"):
        harmonizer.run_tensor(image[..., 1:], mask[..., 1:])


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ((1, 3, 32, 64), (1, 1, 32, 64)),
        ((2, 3, 64, 64), (2, 1, 64, 64)),
        ((1, 64, 64, 3), (1, 64, 64, 1)),
        ((3, 64, 64), (1, 64, 64)),
        ((1, 3, 64, 64), (1, 3, 64, 64)),
    ],
)
def test_wrong_shapes_are_one_sentence(static, image, mask):
    with pytest.raises(HarmonyError, match=r"needs \(1, 3, 64, 64\)"):
        static.run_tensor(np.zeros(image, np.float32), np.zeros(mask, np.float32))


def test_wrong_types_are_one_sentence(static, arrays):
    image, mask = arrays
    with pytest.raises(HarmonyError, match=r"float64.*give float32"):
        static.run_tensor(image.astype(np.float64), mask)
    with pytest.raises(HarmonyError, match="list"):
        static.run_tensor([1, 2], mask)


def test_tensors_that_cannot_be_shared_are_one_sentence(static, arrays):
    torch = pytest.importorskip("torch")
    image, mask = (torch.from_numpy(array) for array in arrays)
    with pytest.raises(HarmonyError, match="detached"):
        static.run_tensor(image.clone().requires_grad_(True), mask)


class OnDevice:
    """Looks like an array on a GPU; nothing reads its memory."""

    def __init__(self, shape):
        self.__cuda_array_interface__ = {"shape": shape, "typestr": "<f4", "data": (0, False), "version": 3}


def test_arrays_on_a_gpu_are_refused_by_an_engine_on_the_cpu(static):
    with pytest.raises(HarmonyError, match=r"are on a GPU.*device='cuda'"):
        static.run_tensor(OnDevice((1, 3, 64, 64)), OnDevice((1, 1, 64, 64)))


def test_image_and_mask_must_lie_together(static, arrays):
    with pytest.raises(HarmonyError, match="different memory"):
        static.run_tensor(OnDevice((1, 3, 64, 64)), arrays[1])


@pytest.mark.gpu
def test_tensors_on_a_gpu_stay_there(static_bundle, arrays):
    torch = pytest.importorskip("torch")
    harmonizer = Harmonizer.open(static_bundle, backend="onnxruntime", device="cuda")
    image, mask = (torch.from_numpy(array).cuda() for array in arrays)
    found = harmonizer.run_tensor(image, mask)
    out = torch.empty_like(image)
    assert found.is_cuda
    assert harmonizer.run_tensor(image, mask, out=out) is out
    np.testing.assert_allclose(found.cpu(), harmonizer.run_tensor(*arrays), atol=1e-5)
    np.testing.assert_array_equal(out.cpu(), found.cpu())
