"""`harmonyrt train` and `harmonyrt synthesize`: what their options become."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
from harmonyrt.models import PAPER
from harmonyrt.training.config import Stage
from harmonyrt.training.plan import CompositePlan


@pytest.fixture
def data(place):
    """A folder of two photos with masks."""
    for name in ("images", "masks"):
        (place / "data" / "set" / name).mkdir(parents=True)
    for name in ("one", "two"):
        Image.open("composite.png").save(f"data/set/images/{name}.jpg")
        Image.open("mask.png").save(f"data/set/masks/{name}.png")
    return Path("data")


@pytest.fixture
def asked(monkeypatch):
    """Configurations that the training loop was called with; it ends at once, finished or not."""
    configs = []
    ending = SimpleNamespace(steps=5, minutes=0.1, finished=True, validation={}, weights=Path("w.safetensors"))

    def train(config):
        configs.append(config)
        return ending

    monkeypatch.setattr("harmonyrt.training.train.train", train)
    return SimpleNamespace(configs=configs, ending=ending)


def test_options_reach_the_loop(data, asked, run):
    options = ("--steps", 7, "--seed", 3, "--precision", "fp32", "--optimizer", "lion", "--lr", 0.5)
    options += ("--weight-decay", 0.2, "--stage", "64:16:0.7", "--stage", "128:4:0.3")
    done = run("train", data, "-o", "run", *options)
    assert done.code == 0, done.err
    assert done.out == "w.safetensors\n"
    (config,) = asked.configs
    assert (config.data, config.out, config.steps, config.minutes) == (data, Path("run"), 7, None)
    assert (config.seed, config.precision, config.optimizer) == (3, "fp32", "lion")
    assert config.weight_decay == 0.2
    assert config.stages == (
        Stage(64, 16, share=0.7, lr=0.5),
        Stage(128, 4, share=0.3, lr=0.5, settled_norms=True),
    )


def test_a_plan_reaches_the_loop(data, asked, run):
    Path("plan.json").write_text(json.dumps({"crops": 0.25}))
    done = run("train", data, "-o", "run", "--steps", 1, "--plan", "plan.json")
    assert done.code == 0, done.err
    assert asked.configs[0].plan == CompositePlan(crops=0.25)
    Path("plan.json").write_text(json.dumps({"cropped": 0.25}))
    done = run("train", data, "-o", "run", "--steps", 1, "--plan", "plan.json")
    assert done.code == 2
    assert "plan.json is not a plan" in done.err
    (data / "composite_images").mkdir()  # what makes it a dataset of pairs
    done = run("train", data, "-o", "run", "--steps", 1, "--plan", "plan.json")
    assert done.code == 2
    assert "leave out --plan" in done.err
    assert not Path("run").exists()


@pytest.mark.parametrize("stage", ["64", "64:8", "64:0:1", "64:8:nan", "sixty:8:1", "60:8:1"])
def test_a_stage_that_cannot_be_is_one_sentence(data, asked, run, stage):
    done = run("train", data, "-o", "run", "--steps", 1, "--stage", stage)
    assert done.code == 2
    assert stage.split(":")[0] in done.err
    assert not asked.configs


def test_the_papers_recipe_has_a_length_of_its_own(data, asked, run):
    assert run("train", data, "-o", "run", "--recipe", "paper").code == 0
    assert asked.configs[0].loss == "paper"
    assert (asked.configs[0].epochs, asked.configs[0].steps) == (160, None)
    assert [stage.share for stage in asked.configs[0].stages] == [100, 10, 50]


def test_a_length_replaces_the_papers(data, asked, run):
    assert run("train", data, "-o", "run", "--recipe", "paper", "--steps", 7).code == 0
    assert (asked.configs[0].epochs, asked.configs[0].steps) == (None, 7)


def test_stages_do_not_replace_the_papers_in_silence(data, asked, run):
    done = run("train", data, "-o", "run", "--recipe", "paper", "--stage", "64:8:1")
    assert done.code == 2
    assert "leave --stage out" in done.error
    assert not asked.configs


def test_the_papers_run_takes_a_network_a_size_and_a_batch(data, asked, run):
    done = run("train", data, "-o", "run", "--recipe", "paper", "--network", "paper", "--size", 512, "--batch", 4)
    assert done.code == 0, done.err
    (config,) = asked.configs
    assert config.network == PAPER
    assert [(stage.size, stage.batch) for stage in config.stages] == [(512, 4)] * 3
    assert config.validation_size == 512
    assert config.epochs == 160


def test_epochs_and_a_network_reach_the_loop(data, asked, run):
    assert run("train", data, "-o", "run", "--epochs", 3, "--network", "paper-10m").code == 0
    (config,) = asked.configs
    assert (config.epochs, config.steps, config.minutes) == (3, None, None)
    assert (config.network.variant, config.network.output) == ("paper", "residual")


def test_a_preset_is_run_from_its_file(data, asked, run, monkeypatch):
    finished, means = [], []
    monkeypatch.setattr("harmonyrt.training.presets.finish", lambda *given: finished.append(given) or Path("done"))
    monkeypatch.setattr("harmonyrt.training.presets.average", lambda *given: means.append(given))
    done = run("train", data, "-o", "run", "--preset", "shipped", "--threads", 1)
    assert done.code == 0, done.err
    assert done.out == "done\n"
    assert len(asked.configs) == 10
    assert all(config.threads == 1 for config in asked.configs)
    assert [config.seed for config in asked.configs] == [77, 301, 701, 1301, 1501, 1502, 1701, 1901, 55, 66]
    mean_shares = (
        *([0.5, 0.5], [0.25, 0.25, 0.5], [0.125, 0.125, 0.25, 0.5], [0.0625, 0.0625, 0.125, 0.25, 0.5]),
        *([0.333333, 0.666667], [0.333333, 0.666667]),
    )
    from_means = [*asked.configs[3:7], *asked.configs[8:]]
    assert [(target, shares) for _, target, shares in means] == [
        (config.init, shares) for config, shares in zip(from_means, mean_shares, strict=True)
    ]
    assert asked.configs[7].init == asked.configs[6].out / "weights.safetensors"
    assert finished


def test_an_ablation_is_a_preset_that_prints_its_table(data, asked, run, monkeypatch):
    monkeypatch.setattr("harmonyrt.training.ablation.score", lambda *given: {"rows": []})
    done = run("train", data, "-o", "run", "--preset", "paper-ablation", "--steps", 7, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"rows": []}
    assert [config.steps for config in asked.configs] == [7] * 7
    assert {config.seed for config in asked.configs} == {0}
    asked.ending.finished = False
    done = run("train", data, "-o", "run", "--preset", "paper-ablation")
    assert done.code == 130
    assert "run the same command again to continue" in done.err


def test_an_interrupted_run_says_how_it_goes_on(data, asked, run):
    asked.ending.finished = False
    done = run("train", data, "-o", "run", "--minutes", 1)
    assert done.code == 130
    assert "run the same command again to continue" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "-o", "run", "--steps", "1"), "not a folder"),
        (("data", "-o", "run"), "--minutes or --steps"),
        (("data", "-o", "run", "--steps", "1", "--minutes", "1"), "--minutes or --steps"),
        (("data", "-o", "run", "--steps", "0"), "see harmonyrt train --help"),
        (("data", "-o", "run", "--steps", "1", "--seed", "-1"), "see harmonyrt train --help"),
        (("data", "-o", "run", "--steps", "1", "--size", "512"), "--stage SIZE:BATCH:SHARE"),
        (("data", "-o", "run", "--preset", "best"), "paper-ablation"),
        (("data", "-o", "run", "--preset", "shipped", "--steps", "1"), "leave out --steps"),
        (("data", "-o", "run", "--preset", "shipped", "--lr", "1"), "leave out --lr"),
        (("data", "-o", "run", "--preset", "paper-ablation", "--init", "w"), "leave out --init"),
        (("data", "--steps", "1"), "see harmonyrt train --help"),
    ],
)
def test_wrong_usage_is_one_sentence(data, run, arguments, words):
    done = run("train", *arguments)
    assert done.code == 2
    assert words in done.error
    assert not Path("run").exists()


def test_synthesize_writes_a_dataset(data, run):
    done = run("synthesize", data, "-o", "dataset", "--variants", 1, "--json")
    assert done.code == 0, done.err
    assert sum(json.loads(done.out)["composites"].values()) == 2
    assert len(list(Path("dataset/composite_images").iterdir())) == 2
    picture = np.asarray(Image.open(next(Path("dataset/composite_images").iterdir())))
    assert picture.shape == (48, 64, 3)


def test_synthesize_makes_ffhqh_from_mattes(data, run):
    Path("mattes").mkdir()
    Image.new("L", (64, 48), 200).save("mattes/one.png")
    done = run("synthesize", data, "-o", "dataset", "--preset", "ffhqh", "--mattes", "mattes")
    assert done.code == 2
    assert "has no matte two.png" in done.error
    Image.new("L", (64, 48), 200).save("mattes/two.png")
    done = run("synthesize", data, "-o", "again", "--preset", "ffhqh", "--mattes", "mattes", "--json")
    assert done.code == 0, done.err
    assert sum(json.loads(done.out)["composites"].values()) == 2
    assert np.asarray(Image.open("again/masks/one_1.png")).max() == 200
    done = run("synthesize", data, "-o", "third", "--mattes", "no.such:matting")
    assert "cannot be imported" in done.error
    assert not Path("third").exists()


def test_synthesize_refuses_what_it_would_overwrite_or_cannot_find(data, run):
    assert "is not empty" in run("synthesize", data, "-o", data).error
    assert "not a folder" in run("synthesize", "nowhere", "-o", "dataset").error
    assert "--seed" in run("synthesize", data, "-o", "dataset", "--seed", -1).error
    assert not Path("dataset").exists()
