"""The robustness suite: cases as they come in life, and networks whose figures are known beforehand."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from harmonyrt.models import PHNet, PHNetConfig, load_phnet
from harmonyrt.training import relighting, robustness
from harmonyrt.training.layers import Layers
from harmonyrt.training.pictures import Album, find_pictures
from harmonyrt.training.robustness_cases import cases, fine_off, masks_off, materials
from harmonyrt.training.shipping import ship
from harmonyrt.training.warm_start import with_colour_head

SIDE = 64


class Nothing(nn.Module):
    """Leaves every composite as it is."""

    def forward(self, image, mask):
        return image


class MeanOfScene(nn.Module):
    """Gives the object the scene's mean colour: it follows its scene fully."""

    def forward(self, image, mask):
        linear, rest = image**2.2, 1 - mask
        mean = lambda where: (linear * where).sum((2, 3), keepdim=True) / where.sum((2, 3), keepdim=True).clamp(min=1)  # noqa: E731
        return (linear * mean(rest) / mean(mask).clamp(min=1e-4)).clamp(0, 1) ** (1 / 2.2)


@pytest.fixture(scope="module")
def made(small_data):
    return materials(Album([p for p in find_pictures(small_data) if p.mask is not None][:12]), SIDE)


@pytest.fixture(scope="module")
def every_case(made):
    return list(cases(made))


@pytest.fixture(scope="module")
def report(small_data):
    return robustness.suite(Nothing(), small_data, "val", SIDE)


def test_doing_nothing_scores_as_the_composites_themselves(report):
    for name, row in report["cases"].items():
        if row["ratio"] is None:
            assert name.startswith("unchanged")
            assert row["psnr"] > 55
        else:
            assert row["ratio"] == pytest.approx(1, abs=0.01)
            assert row["worse"] == 0
            assert row["share"] == pytest.approx(0, abs=0.01)
    assert all(abs(share) < 0.01 for share in report["follows"].values())


def test_every_situation_of_the_suite_is_there(report):
    names = " | ".join(report["cases"])
    plain = ("exact, leaking", "shrunk by 4", "grown by 2", "blurred", "polygon", "edge greyed", "edge foreign")
    moved = ("moved, mask shrunk by 1", "2 of 768", "JPEG", "cropped by 3%", "cropped by 10%", "mirrored", "quarters")
    others = ("in place", "foreign scene", "grey scene", "unchanged, moved", "leak probe, moved", "true fringe")
    for part in (*plain, *moved, *others):
        assert part in names
    assert set(report["bins"]) == {"foreground", "fMSE", "scene's luminance"}
    assert set(report["follows"]) == set(relighting.LIGHTS)
    json.dumps(report, allow_nan=False)


def test_the_truth_scores_as_the_truth(every_case):
    for case in every_case:
        row = robustness.figures(case.real, case)
        if row.ratio is not None:
            assert row.ratio == 0
            assert row.share == pytest.approx(1, abs=1e-3)


def test_half_of_the_needed_change_is_half(every_case):
    case = next(one for one in every_case if one.name == "moved")
    row = robustness.figures(case.composite + (case.real - case.composite) * 0.5, case)
    assert row.ratio == pytest.approx(0.25, abs=0.01)
    assert row.share == pytest.approx(0.5, abs=0.01)


def test_a_leak_probe_shows_the_ring_alone(every_case):
    probe = next(one for one in every_case if one.name == "leak probe, exact")
    hidden = (probe.composite == round(0.5 * 255) / 255).all(1).float().mean()
    assert hidden > 0.4
    assert (probe.scored * (1 - probe.mask)).sum() == 0
    assert 0 < probe.scored.mean() < probe.mask.mean()


def test_the_layered_probe_holds_no_true_colour_outside_as_the_exact_one_does(made):
    """With the composite's own colours known, only a plain composite's outer ring still depends on the truth."""
    layers, changed = made.moved
    outside = layers.alpha == 0
    a = layers.over(changed, layers.scene)
    b = layers.over(layers.layer, layers.scene)
    assert torch.equal(a * outside, b * outside)


def test_masks_are_off_by_what_their_names_say():
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 40:80, 40:80] = 1
    off = dict(masks_off(mask))
    assert off["mask grown by 2"].sum() == 44**2
    assert off["mask shrunk by 4"].sum() == 32**2
    assert 0.4 < (off["mask a polygon"] * mask).sum() / mask.sum() <= 1
    fine = fine_off(mask)
    assert 40**2 < fine.sum() < 42**2


def test_a_network_that_takes_the_scenes_mean_follows_it():
    torch.manual_seed(0)
    scene, layer = torch.rand(6, 3, 48, 48) * 0.4 + 0.1, torch.rand(6, 3, 48, 48) * 0.4 + 0.1
    alpha = torch.zeros(6, 1, 48, 48)
    alpha[..., 16:32, 16:32] = 1
    layers = Layers(scene, layer, alpha, ["moved"] * 6)
    network = MeanOfScene()
    shares = relighting.following(layers, lambda image, mask: robustness.answers(network, image, mask))
    assert all(0.85 < share < 1.1 for share in shares.values()), shares


def test_the_command_prints_a_table_and_writes_json(small_data, tmp_path, capsys):
    small = PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(2, 2, 1), output="residual")
    network = with_colour_head(PHNet(small))
    path = ship(network.state_dict(), network.config, tmp_path / "w.safetensors")
    code = robustness.main([str(path), "--data", str(small_data), "--size", "64", "--only", "in place",
                            "--json", str(tmp_path / "r.json")])  # fmt: skip
    assert code == 0
    assert "| in place |" in capsys.readouterr().out
    written = json.loads((tmp_path / "r.json").read_text())
    assert set(written["cases"]) == {"exact, leaking", "in place", "moved"}
    assert load_phnet(path).config.colour_head


@pytest.mark.parametrize("size", ["60", "24"])
def test_sizes_that_cannot_be_are_refused(small_data, tmp_path, capsys, size):
    assert robustness.main([str(tmp_path / "w"), "--data", str(small_data), "--size", size]) == 2
    assert "multiple of 8" in capsys.readouterr().err
