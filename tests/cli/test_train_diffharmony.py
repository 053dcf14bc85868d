"""`harmonyrt train-diffharmony` and `candidates`: what their options become."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")


@pytest.fixture
def asked(monkeypatch):
    """Configurations that the loop was called with; it ends at once, finished or not."""
    ending = SimpleNamespace(steps=5, finished=True, losses=(0.2, 0.1), written=Path("run/model"))
    configs = []
    monkeypatch.setattr(
        "harmonyrt.training.diffharmony.loop.train_diffusion", lambda config: (configs.append(config), ending)[1]
    )
    return SimpleNamespace(configs=configs, ending=ending)


def test_options_reach_the_loop(place, asked, run):
    options = ("--checkpoint", "sd", "--base", "base", "--steps", 7, "--nofg", "--size", 64, "--inference-size", 128)
    options += ("--optimizer", "adamw-8bit", "--accumulate", 2, "--checkpointing", "--ema", 0.5, "--precision", "fp32")
    done = run("train-diffharmony", "unet", "data", "-o", "run", *options)
    assert done.code == 0, done.err
    assert done.out == "run/model\n"
    (config,) = asked.configs
    assert (config.stage, config.data, config.out) == ("unet", Path("data"), Path("run"))
    assert (config.checkpoint, config.base, config.steps, config.foreground) == (Path("sd"), Path("base"), 7, False)
    assert (config.side, config.stage_one_side, config.optimizer, config.accumulate) == (64, 128, "adamw-8bit", 2)
    assert (config.checkpointing, config.ema, config.precision) == (True, 0.5, "fp32")


def test_a_stopped_run_says_how_to_go_on(place, asked, run):
    asked.ending.finished = False
    done = run("train-diffharmony", "harmony-vae", "data", "-o", "run", "--checkpoint", "sd", "--steps", 7)
    assert done.code == 130
    assert "run the same command again" in done.err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("unet", "data", "-o", "run", "--steps", 1), "begins with a Stable Diffusion inpainting folder"),
        (("unet", "data", "-o", "run", "--checkpoint", "sd"), "a run's length is given once"),
        (("unet", "nowhere", "-o", "run", "--checkpoint", "sd", "--steps", 1), "nowhere is not a folder"),
        (("vae", "data", "-o", "run"), "'vae' is not one of"),
    ],
)
def test_wrong_usage_is_one_sentence(place, given, words, run):
    done = run("train-diffharmony", *given)
    assert done.code == 2
    assert words in done.error
    assert not Path("run").exists()


def test_candidates_need_pairs(place, run):
    Path("photos").mkdir()
    done = run("candidates", "photos", "-o", "more", "--checkpoint", "sd")
    assert done.code == 2
    assert "photos is not a dataset of pairs" in done.error
    assert not Path("more").exists()
