"""The papers' test paths against what their programs gave, and against the operations that they call."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.evaluation import paper_protocols as paths
from harmonyrt.evaluation.iharmony4 import Pair, read_split


@pytest.mark.parametrize("size", [(150, 220), (40, 33), (64, 64)])
def test_bicubic_is_torchs(size):
    torch = pytest.importorskip("torch")
    tensor = np.random.default_rng(0).random((1, 3, 64, 48), np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(tensor), size, mode="bicubic", align_corners=False)
    assert np.abs(paths.bicubic(tensor, size) - expected.numpy()).max() < 1e-5


@pytest.mark.parametrize("size", [(150, 220), (40, 33)])
@pytest.mark.parametrize(("mode", "how"), [("bicubic", "BICUBIC"), ("bilinear", "BILINEAR")])
def test_antialiased_resizing_is_torchs(size, mode, how):
    torch = pytest.importorskip("torch")
    tensor = np.random.default_rng(0).random((1, 3, 64, 48), np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(tensor), size, mode=mode, antialias=True)
    assert np.abs(paths._resampled(tensor, size, Image.Resampling[how]) - expected.numpy()).max() < 1e-5


def test_phnets_script_end_to_end(golden):
    """In folders of golden cases that are held back; the operations themselves are compared above."""
    for name in golden.names("phnet_e2e"):
        case = golden.case(name)
        side = int(case["net_size"])
        grey = case["mask_gray"].squeeze()
        assert (paths.dithered(grey, grey.shape) > 0).tolist() == (case["mask_dithered"] > 0).tolist()
        assert ((paths.dithered(grey, (side, side)) > 0) == (case["net_mask"] > 0)).all()
        shown = np.ascontiguousarray(case["composite"].transpose(1, 2, 0))
        assert (paths.resized(shown, side).transpose(2, 0, 1) == case["net_input"]).all()
        back = paths.bicubic(case["blended"], grey.shape)
        assert np.abs(back - case["final_bicubic"]).max() < 1e-5
        back = paths._resampled(case["blended"], grey.shape, Image.Resampling.BICUBIC)
        assert np.abs(back - case["final_bicubic_antialias"]).max() < 1e-5


def test_bytes_are_cut_and_wrap_around():
    values = np.float32([0, 0.999, 1, 1.01, -0.01])
    assert paths.cut_to_bytes(values).tolist() == [0, 254, 255, 1, 254]  # 257.55 -> 257 -> 1; -2.55 -> -2 -> 254


@pytest.fixture
def pair(data) -> Pair:
    return read_split(data)[2]


def halves(image, mask):
    """A network that darkens everything, the background too."""
    return image * 0.5


def test_phnets_validation_is_blended_and_scored_in_floats(pair):
    case = paths.phnet(halves, pair, (32, 32))
    inside = case.mask > 0
    assert case.result.shape == (32, 32, 3)
    assert set(np.unique(case.mask)) == {0, 255}
    assert np.allclose(case.result[inside], case.composite[inside] * 0.5, atol=1e-4)  # odd levels: halves stay
    assert (np.round(case.result[~inside]) == case.composite[~inside]).all()


def test_phnets_script_has_the_files_size_and_spoils_the_background(pair):
    case = paths.phnet_test(halves, pair, (32, 32))
    assert case.result.shape == case.composite.shape == (48, 64, 3)
    outside = case.mask == 0
    assert (case.result[outside] != case.composite[outside]).any()
    assert not np.array_equal(case.result, paths.phnet_test(halves, pair, (32, 32), antialias=True).result)


def test_diffharmony_gets_the_files_or_the_small_composite(pair):
    seen = {}

    def network(image, mask, small_image, small_mask):
        seen.update(image=image, mask=mask, small_image=small_image, small_mask=small_mask)
        return small_image if small_image is not None else image

    for strict in (False, True):
        case = paths.diffharmony(network, pair, (64, 64), (16, 16), refines=True, strict=strict)
        assert case.result.shape == (16, 16, 3)
        assert seen["image"].shape == (1, 3, 64, 64)
        assert seen["small_image"].shape == (1, 3, 16, 16)
        assert set(np.unique(seen["mask"])) <= {0, 1}
        fine = np.abs(np.diff(seen["image"], axis=3)).mean()
        seen["fine strict" if strict else "fine"] = fine
    assert seen["fine strict"] < 0.8 * seen["fine"]  # 16 px hold less than the file


def test_diffharmony_is_cut_to_bytes_and_gets_the_real_background(pair):
    case = paths.diffharmony(lambda image, *rest: np.zeros_like(image) + 0.999, pair, (64, 64), (16, 16), refines=False)
    inside = case.mask > 0
    assert (case.result[inside] == 254).all()
    assert (case.result[~inside] == case.real[~inside]).all()


def test_pictures_of_different_size_are_refused_where_the_files_size_counts(pair, data):
    Image.new("RGB", (10, 10)).save(pair.real)
    with pytest.raises(HarmonyError, match="differ in size"):
        paths.phnet_test(halves, pair, (32, 32))
