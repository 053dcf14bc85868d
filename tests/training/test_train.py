"""The loop: it learns, it can be killed, it says what it does."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.models import PHNet, PHNetConfig, load_phnet
from harmonyrt.models.checkpoints import open_phnet
from harmonyrt.training.composites import Composer
from harmonyrt.training.config import PAPER_STAGES, Stage, TrainConfig, paper_config
from harmonyrt.training.dataset_statistics import statistics
from harmonyrt.training.loading import PairedDataset, Synthesis, batches
from harmonyrt.training.pictures import Album, find_pictures
from harmonyrt.training.plan import TEST_PLAN
from harmonyrt.training.reporting import Reporter
from harmonyrt.training.scoring import compare
from harmonyrt.training.shipping import NAMED
from harmonyrt.training.synthesize import SynthesisConfig, synthesize
from harmonyrt.training.train import train
from harmonyrt.training.warm_start import with_patch_shrinkage

SMALL = PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(2, 2, 1), output="residual")


@pytest.fixture(scope="module")
def pairs(small_data, tmp_path_factory):
    """A folder of two subsets in iHarmony4's layout, whose train lists are cut to 4 composites each."""
    root = tmp_path_factory.mktemp("pairs")
    for name in ("HOne", "HTwo"):
        synthesize(SynthesisConfig(small_data, root / name, variants=1, photos=False))
        lines = (root / name / "train.txt").read_text().splitlines()
        (root / name / "train.txt").write_text("".join(f"{line}\n" for line in lines[:4]))
    return root


@pytest.fixture
def config(small_data, tmp_path):
    stage = Stage(size=32, batch=4, lr=2e-3)
    return TrainConfig(
        small_data,
        tmp_path / "run",
        SMALL,
        (stage,),
        steps=6,
        workers=0,
        threads=1,
        warmup_steps=2,
        precision="fp32",
        validation_size=32,
    )


def _run(config):
    stream = io.StringIO()
    config.out.mkdir(parents=True, exist_ok=True)
    result = train(config, Reporter(config.out / "log.jsonl", stream))
    return result, stream.getvalue()


def _weights(result):
    return load_phnet(result.weights).state_dict()


def test_a_run_writes_weights_that_open_a_log_and_a_grid(config):
    result, said = _run(replace(config, report_every=0.0, ship=config.out / "shipped.safetensors"))
    assert result.finished
    assert result.steps == 6
    assert load_phnet(config.out / "shipped.safetensors").config == SMALL
    entries = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in entries if "loss" in e] == [1, 2, 3, 4, 5, 6]
    assert {"psnr", "fmse"} <= entries[-1]["validation"]["harmonized"].keys()
    assert len(list((config.out / "grids").glob("*.png"))) == 1
    assert "validation: PSNR" in said


def test_training_learns_a_batch_that_it_sees_again_and_again(config, monkeypatch):
    album = Album([picture for picture in find_pictures(config.data) if picture.split == "train"])
    batch = Composer(album, TEST_PLAN).batch(32, 4, [1])
    monkeypatch.setattr(Synthesis, "batch", lambda *asked: (batch.composite, batch.mask, batch.real))
    result, _ = _run(replace(config, steps=60, ema=0.9))
    assert compare(load_phnet(result.weights), [batch], "fp32")["fmse_ratio"] < 0.6


def test_equal_seeds_give_equal_weights(config, tmp_path):
    first, second = (_weights(_run(replace(config, out=tmp_path / name))[0]) for name in ("a", "b"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_stopped_run_goes_on_to_the_same_weights(config, tmp_path, stop_after):
    whole, _ = _run(replace(config, out=tmp_path / "whole"))
    stop_after(3)
    stopped, _ = _run(config)
    assert (stopped.steps, stopped.finished) == (3, False)
    resumed, said = _run(config)
    assert "resuming at step 3" in said
    assert resumed.finished
    expected, got = _weights(whole), _weights(resumed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


@pytest.mark.slow
def test_a_killed_run_goes_on(small_data, tmp_path):
    program = (
        "import sys; from pathlib import Path; from harmonyrt.models import PHNetConfig;"
        "from harmonyrt.training.config import *; from harmonyrt.training.train import train;"
        f"train(TrainConfig(Path({str(small_data)!r}), Path(sys.argv[1]), {SMALL!r}, (Stage(32, 2),), steps=100000,"
        "workers=0, threads=1, checkpoint_every=0.0, validation_size=32))"
    )
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", program, str(out)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 600  # a few seconds on a machine that does nothing else
        while not (out / "config.json").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    config = TrainConfig(small_data, out, SMALL, (Stage(32, 2),), steps=1, workers=0, threads=1, validation_size=32)
    _, said = _run(config)
    resumed = re.search(r"resuming at step (\d+)", said)
    assert resumed
    assert int(resumed[1]) >= 1


def test_a_checkpoint_of_another_run_is_refused(config):
    _run(config)
    with pytest.raises(HarmonyError, match="of another run"):
        _run(replace(config, optimizer="lion"))
    (config.out / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(HarmonyError, match="cannot be resumed"):
        _run(config)


def test_stages_follow_each_other_by_their_shares(config):
    stages = (Stage(32, 2, share=2), Stage(48, 2, share=1, settled_norms=True))
    _, said = _run(replace(config, stages=stages, report_every=0.0))
    sizes = [json.loads(line).get("size") for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert sizes[:6] == [32] * 4 + [48] * 2
    assert "stage 2 of 2" in said


def test_a_frozen_encoder_stands_still(config):
    _, _ = _run(replace(config, stages=(Stage(32, 2, freeze=("encoder",)),), ema=0.0))
    saved = torch.load(config.out / "checkpoint.pt", weights_only=True)["network"]
    torch.manual_seed(config.seed)
    fresh = __import__("harmonyrt.models", fromlist=["PHNet"]).PHNet(SMALL).state_dict()
    assert torch.equal(saved["encoder.2.0.weight"], fresh["encoder.2.0.weight"])
    assert not torch.equal(saved["decoder.2.0.weight"], fresh["decoder.2.0.weight"])


def test_without_the_extractor_its_weights_learn_nothing(config):
    _, _ = _run(replace(config, stages=(Stage(32, 2, extractor=False),), ema=0.0, weight_decay=0.0))
    saved = torch.load(config.out / "checkpoint.pt", weights_only=True)["network"]
    torch.manual_seed(config.seed)
    fresh = __import__("harmonyrt.models", fromlist=["PHNet"]).PHNet(SMALL).state_dict()
    name = "feature_extractor.head.0.weight"
    assert torch.equal(saved[name], fresh[name])


def test_a_stage_without_the_extractor_is_validated_and_shipped_without_it(config, monkeypatch):
    validated = []
    original = __import__("harmonyrt.training.train", fromlist=["compare"]).compare

    def compared(network, *rest):
        validated.append(network.config.extractor)
        return original(network, *rest)

    monkeypatch.setattr("harmonyrt.training.train.compare", compared)
    stages = (Stage(32, 2, extractor=False, share=1.0), Stage(32, 2, share=1.0))
    first, _ = _run(replace(config, stages=stages[:1]))
    shipped = load_phnet(first.weights)
    assert not shipped.config.extractor
    assert not [name for name in shipped.state_dict() if name.startswith("feature_extractor")]
    assert validated == [False]
    validated.clear()
    both, _ = _run(replace(config, out=config.out / "both", stages=stages, validate_every=0.0))
    assert validated == [False] * 3 + [True] * 4
    assert load_phnet(both.weights).config.extractor


@pytest.mark.parametrize("extractor", [True, False])
def test_the_checkpoint_of_a_run_opens_as_its_average(extractor, config):
    stages = (Stage(32, 2, extractor=extractor),)
    result, _ = _run(replace(config, network=replace(SMALL, change_shrinkage=0.1), stages=stages, ema=0.5))
    opened, shipped = open_phnet(config.out / "checkpoint.pt"), load_phnet(result.weights)
    assert opened.network.config == shipped.config == replace(SMALL, change_shrinkage=0.1, extractor=extractor)
    (note,) = opened.notes
    assert "average, not network" in note
    for name, value in opened.network.state_dict().items():
        torch.testing.assert_close(value, shipped.state_dict()[name], atol=1e-3, rtol=1e-3)


def test_weights_without_the_extractor_are_gone_on_from(config):
    first, _ = _run(replace(config, stages=(Stage(32, 2, extractor=False),)))
    on, said = _run(replace(config, out=config.out / "on", init=first.weights))
    assert "starts from random values" in said
    assert load_phnet(on.weights).config.extractor
    without = replace(config, out=config.out / "without", init=first.weights, stages=(Stage(32, 2, extractor=False),))
    again, _ = _run(without)
    assert not load_phnet(again.weights).config.extractor


def test_epochs_are_of_the_training_split(config):
    pictures = len(Synthesis(config.data, config.plan))
    stages = (Stage(32, 2, share=2), Stage(32, 3, share=1))
    result, said = _run(replace(config, steps=None, epochs=3.0, stages=stages))
    steps = 2 * math.ceil(pictures / 2) + math.ceil(pictures / 3)
    assert result.steps == steps
    assert f"3 epochs (2, 1) of {pictures} composites: {steps} steps" in said


def test_settled_norms_do_not_move_during_their_stage(config):
    _, _ = _run(replace(config, stages=(Stage(32, 2, settled_norms=True),), ema=0.0))
    checkpoint = torch.load(config.out / "checkpoint.pt", weights_only=True)
    name = "decoder.0.1.running_var"
    assert torch.equal(checkpoint["network"][name], checkpoint["average"][name])
    assert not torch.equal(checkpoint["network"][name], torch.ones(32))


def test_the_released_form_trains_with_its_loss(config):
    sigmoid = replace(SMALL, output="sigmoid")
    result, _ = _run(replace(config, network=sigmoid, loss="released", optimizer="lion", schedule="constant"))
    assert load_phnet(result.weights).config.output == "sigmoid"


def test_a_run_takes_up_patch_shrinkage_where_another_ended(config):
    first, _ = _run(config)
    second, _ = _run(replace(config, out=config.out / "on", init=first.weights, patch_shrinkage=0.5))
    assert load_phnet(second.weights).config == replace(SMALL, patch_shrinkage=0.5)


def test_patches_full_of_background_keep_what_they_give():
    torch.manual_seed(0)
    network = PHNet(replace(SMALL, output="sigmoid")).eval()
    image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(with_patch_shrinkage(network, 0.5).eval()(image, mask), network(image, mask))


def test_bf16_trains_to_finite_weights(config):
    result, _ = _run(replace(config, precision="bf16"))
    assert all(torch.isfinite(value).all() for value in _weights(result).values())


def test_the_papers_stages(tmp_path):
    config = paper_config(tmp_path, tmp_path)
    assert [stage.lr for stage in config.stages] == [1e-4, 1e-5, 1e-7]
    assert [stage.share for stage in config.stages] == [100, 10, 50]
    assert config.stages == PAPER_STAGES
    assert (config.optimizer, config.loss, config.network.output) == ("lion", "paper", "sigmoid")


def test_an_epoch_of_pairs_sees_every_composite_once_in_each_stage(config, pairs, monkeypatch):
    """Stages without and with the PFE, with the encoder frozen: the paper's three, an epoch or two of each."""
    seen: list[tuple[int, list[int]]] = []
    original = PairedDataset.batch

    def noted(self, size, count, seed, indices=None):
        seen.append((seed[1], [int(index) for index in indices]))
        return original(self, size, count, seed, indices)

    monkeypatch.setattr(PairedDataset, "batch", noted)
    stages = tuple(
        replace(stage, size=32, batch=3, share=share) for stage, share in zip(PAPER_STAGES, (2, 1, 1), strict=True)
    )
    length = {"steps": None, "epochs": 4.0}
    result, said = _run(replace(config, data=pairs, stages=stages, optimizer="lion", loss="paper", **length))
    assert "4 epochs (2, 1, 1) of 8 composites: 12 steps" in said
    assert result.steps == 12
    assert [step for step, _ in seen] == list(range(12))
    for epoch in range(4):
        of_epoch = [index for _, indices in seen[epoch * 3 : epoch * 3 + 3] for index in indices]
        assert sorted(of_epoch) == list(range(8))
    assert [len(indices) for _, indices in seen[:3]] == [2, 3, 3]  # not 3, 3 and a rest
    assert len({str(seen[epoch * 3]) for epoch in range(4)}) == 4
    assert [said.count(f"stage {n} of 3") for n in (1, 2, 3)] == [1, 1, 1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_read_is_one_sentence(pairs, tmp_path, workers):
    root = tmp_path / "pairs"
    shutil.copytree(pairs / "HOne", root)
    for path in (root / "composite_images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(HarmonyError, match="is not a picture of a known format") as raised:
        next(batches(PairedDataset(root), 32, 2, 0, 0, workers))
    assert "\n" not in str(raised.value)


def test_a_worker_that_is_killed_is_one_sentence(config, monkeypatch):
    made = Synthesis.batch

    def killed(source, size, count, seed):
        if torch.utils.data.get_worker_info() is not None and seed[1] >= 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return made(source, size, count, seed)

    monkeypatch.setattr(Synthesis, "batch", killed)
    with pytest.raises(WorkFailed, match="has died"):
        train(replace(config, workers=1, steps=3))


def test_iharmony4s_lists_are_read_as_they_come(config, pairs, tmp_path):
    """No list val.txt, and those for training and test above the subsets."""
    root = tmp_path / "iHarmony4"
    shutil.copytree(pairs, root)
    lines = {"train": [], "test": []}
    for folder in sorted(root.iterdir()):
        for split, together in lines.items():
            names = (folder / f"{split}.txt").read_text().split()[:3]
            together += [f"{folder.name}/composite_images/{Path(name).name}\n" for name in names]
        for path in folder.glob("*.txt"):
            path.unlink()
    for split, together in lines.items():
        (root / f"IHD_{split}.txt").write_text("".join(together))
    result, said = _run(replace(config, data=root, steps=1, loss="paper"))
    assert result.finished
    assert result.validation["pictures"] == 6
    assert "note: " in said
    assert "has no list val.txt" in said
    dataset = PairedDataset(root)
    assert [folder.name for folder in dataset.folders] == ["HOne"] * 3 + ["HTwo"] * 3
    assert all(path.is_file() for n in range(6) for path in dataset.paths(n))
    assert statistics(root)["pictures"] == 12
    (root / "IHD_test.txt").unlink()
    with pytest.raises(HarmonyError, match=r"has no list test\.txt"):
        _run(replace(config, data=root, out=tmp_path / "without"))


def test_validation_comes_after_so_many_steps_at_the_size_that_is_asked_for(config):
    _run(replace(config, validate_steps=2, validation_size=48))
    entries = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "validation" in entry] == [2, 4, 6]


@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.parametrize("network", ["ffhqh", "iharmony4", "paper", "paper-10m"])
def test_the_papers_recipe_takes_every_network_at_every_size(tmp_path, network, size):
    stages = tuple(replace(stage, size=size) for stage in PAPER_STAGES)
    config = paper_config(tmp_path, tmp_path, network=NAMED[network], stages=stages, validation_size=size)
    assert (config.epochs, config.schedule, config.optimizer) == (160, "constant", "lion")
    assert [stage.freeze for stage in config.stages] == [(), ("encoder",), ()]
    assert [stage.extractor for stage in config.stages] == [False, True, True]
    assert config.network == NAMED[network]
    narrow = PHNet(replace(config.network, enc_sizes=SMALL.enc_sizes)).eval()
    with torch.no_grad():
        output = narrow(torch.rand(1, 3, size, size), torch.zeros(1, 1, size, size))
    assert output.shape == (1, 3, size, size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": None}, "exactly one"),
        ({"minutes": 3.0}, "exactly one"),
        ({"steps": -5}, "positive"),
        ({"epochs": 3.0}, "exactly one"),
        ({"steps": None, "epochs": 0.0}, "positive"),
        ({"stages": (Stage(size=100),)}, "multiple of 8"),
        ({"patch_shrinkage": 1.5}, "from 0 to 1"),
    ],
)
def test_impossible_runs_are_refused(config, changes, message):
    with pytest.raises(HarmonyError, match=message):
        replace(config, **changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA GPU")
def test_an_absent_gpu_is_named(config):
    with pytest.raises(HarmonyError, match="no CUDA GPU"):
        _run(replace(config, device="cuda"))


def test_data_without_pictures_is_named(config, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarmonyError, match="holds no"):
        _run(replace(config, data=Path(tmp_path / "empty")))


@pytest.mark.slow
def test_a_compiled_run_learns_what_a_plain_one_does(config):
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs a C++ compiler")
    plain, _ = _run(config)
    compiled, _ = _run(replace(config, out=config.out.with_name("compiled"), compiled=True, threads=2))
    for name, value in _weights(plain).items():
        if "running" not in name:  # BatchNorm sees the first process's part only
            assert torch.allclose(value, _weights(compiled)[name], atol=0.02), name


def test_compiled_training_is_refused_where_it_cannot_be(config, monkeypatch):
    with pytest.raises(HarmonyError, match="is for the CPU"):
        replace(config, compiled=True, device="cuda")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(HarmonyError, match="needs a C"):
        _run(replace(config, compiled=True))
    assert not (config.out / "checkpoint.pt").exists()
