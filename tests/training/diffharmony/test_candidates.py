"""The inverse model's composites, and the classifier that chooses among them."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fakes.diffharmony_toys import SIDE, write_toys
from harmonyrt.common import HarmonyError
from harmonyrt.training.diffharmony import candidates
from harmonyrt.training.diffharmony.candidates import CandidatesConfig, write_candidates
from harmonyrt.training.diffharmony.loop import train_diffusion
from harmonyrt.training.diffharmony.stages import load_classifier
from harmonyrt.training.loading import PairedDataset
from harmonyrt.training.reporting import Reporter

transformers = pytest.importorskip("transformers", reason="needs transformers, extra 'diffusion'")


@pytest.fixture(scope="module")
def small_classifier(tmp_path_factory):
    """A ResNet's folder of two narrow stages, for a thousand classes as published ones are."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("resnet")
    shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    transformers.ResNetForImageClassification(transformers.ResNetConfig(**shape)).save_pretrained(folder)
    return folder


def test_the_classifier_learns_to_tell_composites_from_real_pictures(config, small_classifier):
    setting = config("classifier", checkpoint=None, start=small_classifier, steps=40, batch=8, lr=5e-3)
    result = train_diffusion(setting, Reporter(setting.out / "log.jsonl", io.StringIO()))
    first, last = result.losses
    assert last < 0.9 * first
    opened = load_classifier(result.written)
    assert opened.config.id2label == {0: "composite", 1: "real"}


def test_another_network_is_no_classifier(base):
    with pytest.raises(HarmonyError, match="holds a None and not a ResNet"):
        load_classifier(base / "unet")


@pytest.fixture
def pairs(tmp_path):
    return write_toys(tmp_path / "pairs", {"train": 2})


@pytest.fixture
def maker(monkeypatch):
    """The inverse model, replaced by one that paints each candidate in its number's grey."""
    drawn = []

    def painted(model, picture, mask, steps, seed):
        drawn.append(seed)
        return torch.full_like(picture, 0.25 * (seed[-1] + 1))

    monkeypatch.setattr(candidates, "harmonized", painted)
    return drawn


def test_the_least_harmonious_candidate_is_kept(pairs, base, maker, monkeypatch, tmp_path):
    class Critic(torch.nn.Module):
        """Takes pictures for composites the nearer their foreground is to the second grey."""

        def forward(self, picture):
            centre = picture[:, :, 100:124, 100:124].mean() * 0.225 + 0.45
            return type("Answer", (), {"logits": torch.stack([-50 * (centre - 0.5).abs(), centre * 0])[None]})

    monkeypatch.setattr(candidates, "load_classifier", lambda folder: Critic())
    setting = CandidatesConfig(pairs, tmp_path / "more", base, classifier=base, count=3, size=32)
    assert write_candidates(setting) == 2
    dataset = PairedDataset(tmp_path / "more")
    assert dataset.names == ["train0_1_2.jpg", "train1_1_2.jpg"]
    composite, mask, real = (np.asarray(Image.open(path)).astype(int) for path in dataset.paths(0))
    assert composite.shape == (SIDE, SIDE, 3)
    assert np.abs(composite[mask > 127] - 127).max() < 40  # JPEG
    assert np.abs(composite[mask == 0] - real[mask == 0]).mean() < 3
    scores = [json.loads(line) for line in (tmp_path / "more" / "candidates.jsonl").read_text().splitlines()]
    assert [line["chosen"] for line in scores] == [2, 2]
    assert all(np.argmax(line["composite_probability"]) == 1 for line in scores)


def test_without_a_classifier_all_are_kept_and_nothing_is_made_twice(pairs, base, maker, tmp_path):
    setting = CandidatesConfig(pairs, tmp_path / "more", base, count=3, size=32)
    assert write_candidates(setting) == 6
    assert len(maker) == len({tuple(seed) for seed in maker}) == 6
    (tmp_path / "more" / "composite_images" / "train1_1_3.jpg").unlink()
    assert write_candidates(setting) == 6
    assert len(maker) == 9  # the picture that lacked one
    with pytest.raises(HarmonyError, match="size 33 is not a multiple of 8"):
        write_candidates(replace(setting, size=33))
