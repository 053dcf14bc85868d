from __future__ import annotations

import pytest

from harmonyrt.models import diffharmony as dh
from harmonyrt.models.diffharmony import sampler
from harmonyrt.models.diffharmony.noise_loss import add_noise, foreground_noise_loss


def test_loss_is_the_published_one(dh_case, golden):
    case = dh_case("dh_train_loss")
    loss = foreground_noise_loss(case["model_pred"], case["target"], case["mask"])
    assert float(loss) == pytest.approx(float(case["loss"]), abs=golden.tolerance("dh_train_loss"))


def test_an_empty_mask_contributes_nothing(dh_case, golden):
    case = dh_case("dh_train_loss")
    mask = case["mask"].clone()
    mask[1] = 0
    loss = foreground_noise_loss(case["model_pred"], case["target"], mask)
    assert float(loss) == pytest.approx(float(case["loss_with_empty_second_mask"]), abs=5e-5)


def test_added_noise(dh_case, golden):
    case = dh_case("dh_scheduler")
    kept = sampler.alphas_cumprod(dh.SamplerConfig())
    found = add_noise(case["addnoise_x0"], case["addnoise_noise"], case["addnoise_t"], kept)
    assert float((found - case["addnoise_out"]).abs().max()) <= golden.tolerance("dh_scheduler")
