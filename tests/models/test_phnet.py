"""PHNet is the released network: golden cases, inner activations, edge cases, gradients."""

import dataclasses

import numpy as np
import pytest
import torch

from harmonyrt.models import FFHQH, IHARMONY4, PHNet


def run(network, image, mask):
    return network(torch.from_numpy(image), torch.from_numpy(mask)).numpy()


def test_golden_case(phnet_case, golden, golden_phnet):
    data = golden.case(phnet_case)
    output = run(golden_phnet(data["meta"]["model"]), *golden.phnet_inputs(data))
    assert golden.phnet_error(output, data) <= golden.tolerance(phnet_case)


@pytest.mark.parametrize("case", ["phnet_odd264x248"])
def test_inner_activations(case, golden, golden_phnet):
    data = golden.case(case)
    network = golden_phnet("phnet")
    modules = {
        "feature_extractor": network.feature_extractor,
        "SE_block": network.SE_block,
        **{f"encoder.{i}": m for i, m in enumerate(network.encoder)},
        **{f"normalizers.{i}": m for i, m in enumerate(network.normalizers)},
        **{f"skip.{i}": m for i, m in enumerate(network.skip)},
        **{f"decoder.{i}": m for i, m in enumerate(network.decoder)},
    }
    seen = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out.numpy()))
        for name, module in modules.items()
    ]
    run(network, *golden.phnet_inputs(data))
    for hook in hooks:
        hook.remove()

    checked = 0
    for name, activation in seen.items():
        if f"act/{name}/mean" not in data:
            continue
        mean, std = activation.astype(np.float64).mean((0, 2, 3)), activation.astype(np.float64).std((0, 2, 3))
        want_mean, want_std = np.ravel(data[f"act/{name}/mean"]), np.ravel(data[f"act/{name}/std"])
        if want_mean.size == 1:
            mean, std = activation.astype(np.float64).mean(), activation.astype(np.float64).std()
        scale = 1 + np.abs(want_mean).max()
        assert np.abs(mean - want_mean).max() <= 1e-4 * scale, name
        assert np.abs(std - want_std).max() <= 1e-4 * scale, name
        checked += 1
    assert checked >= 20


@pytest.mark.parametrize("config", [FFHQH, IHARMONY4], ids=["ffhqh", "iharmony4"])
def test_parameter_counts_of_the_released_networks(config):
    with torch.device("meta"):
        count = sum(p.numel() for p in PHNet(config).parameters())
    assert count == {FFHQH: 39_921_641, IHARMONY4: 9_994_295}[config]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_masks_stay_finite(value, golden_phnet):
    image = torch.rand(1, 3, 48, 40, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(golden_phnet("phnet_iharmony4")(image, torch.full((1, 1, 48, 40), value))).all()


def test_residual_form_starts_as_the_identity_and_trains():
    network = PHNet(dataclasses.replace(IHARMONY4, output="residual"))
    image, mask = torch.rand(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float()
    output = network(image, mask)
    assert torch.equal(output, image)
    (output - torch.rand_like(image)).square().mean().backward()
    assert torch.isfinite(network.decoder[-1][0].weight.grad).all()
    assert network.decoder[-1][0].weight.grad.abs().max() > 0


def test_statistics_stay_in_float32_under_autocast(golden_phnet):
    """A region of one pixel amplifies rounding of the mean by thousands: in bfloat16 it would be off by far more."""
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, 32:36, 32:36] = 1
    normalizer = golden_phnet("phnet_iharmony4").normalizers[0]
    features = torch.rand(1, 32, 32, 32, generator=torch.Generator().manual_seed(2))
    want = normalizer(features, mask[:, :, ::2, ::2])
    with torch.autocast("cpu", torch.bfloat16):
        got = normalizer(features, mask[:, :, ::2, ::2])
    assert got.dtype == torch.float32
    assert torch.equal(got, want)


def test_shrunk_patch_means_are_those_of_patches_joined_by_zeros():
    torch.manual_seed(0)
    published = PHNet(IHARMONY4).normalizers[0]
    shrunk = PHNet(dataclasses.replace(IHARMONY4, patch_shrinkage=0.25)).normalizers[0]
    shrunk.load_state_dict(published.state_dict())
    features, mask = torch.rand(1, 32, 40, 40), torch.ones(1, 1, 40, 40)
    mask[:, :, 0, 0] = 0  # one pixel of background, in a patch of 4 x 4

    def local(normalizer):
        """What the patches give: the output with them, less the output without."""
        with torch.no_grad():
            normalizer.grid_weights.fill_(1.0)
            given = normalizer(features, mask)
            normalizer.grid_weights.zero_()
            return (given - normalizer(features, mask))[:, :, 8:, 8:]

    torch.testing.assert_close(local(shrunk) * (1 + 0.25 * 16), local(published), rtol=1e-3, atol=1e-5)


def test_the_smaller_a_change_the_more_of_it_is_withheld():
    torch.manual_seed(0)
    network = PHNet(dataclasses.replace(IHARMONY4, output="residual", change_shrinkage=0.4)).eval()
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:12, 4:12] = 1
    change = torch.randn(2, 3, 16, 16) * torch.tensor([0.02, 0.2]).view(2, 1, 1, 1)
    kept = network.shrunk(change, mask) / change
    for sample in range(2):
        size = change[sample, :, 4:12, 4:12].square().mean()
        want = 1 - 0.4 * torch.exp(-size / (32 / 255) ** 2)
        torch.testing.assert_close(kept[sample], want.expand(3, 16, 16), rtol=1e-5, atol=1e-6)
    assert kept[0].mean() < 0.7 < 0.9 < kept[1].mean()
    elsewhere = change + 9 * (1 - mask)  # what lies outside the mask is not part of the change
    torch.testing.assert_close(network.shrunk(elsewhere, mask) / elsewhere, kept, rtol=1e-5, atol=1e-6)


def test_change_shrinkage_reaches_the_output_of_the_residual_form():
    torch.manual_seed(0)
    plain = PHNet(dataclasses.replace(IHARMONY4, output="residual")).eval()
    torch.nn.init.normal_(plain.decoder[-1][0].weight, std=0.001)
    shrunk = PHNet(dataclasses.replace(plain.config, change_shrinkage=0.4)).eval()
    shrunk.load_state_dict(plain.state_dict())
    image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[:, :, 8:24, 8:24] = 1
    with torch.no_grad():
        change = plain(image, mask) - image
        torch.testing.assert_close(shrunk(image, mask), image + shrunk.shrunk(change, mask))
        assert (shrunk(image, mask) - plain(image, mask)).abs().max() > 1e-3
