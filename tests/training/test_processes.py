"""Several processes train as one does: same batches, same weights within rounding, and only the first one writes."""

from __future__ import annotations

import ast
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fakes import trained_together as together
from fakes.diffharmony_toys import write_base, write_toys
from harmonyrt.common import HarmonyError
from harmonyrt.models import PHNet
from harmonyrt.models.diffharmony import HarmonyVAE
from harmonyrt.training import __main__ as entry
from harmonyrt.training import train as training
from harmonyrt.training.processes import JointBackward, Processes, joined
from harmonyrt.training.reporting import Reporter

RUNS = [*together.PHNET_RUNS, "vae"]


class StopsAt(Reporter):
    """Reports nothing, and sends a signal after a step."""

    def __init__(self, last: int) -> None:
        super().__init__(None)
        self.last = last

    def step(self, step, *others):
        if step == self.last:
            signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)  # not by the kernel: this process is pytest's


def torchrun(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    tests = str(Path(__file__).parents[1])  # for `fakes`
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": tests}
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=1200, env=quiet)


@pytest.fixture(scope="module")
def trained(small_data, tmp_path_factory):
    """The checkpoints of every run, of one process and of two; the two resume one run of one process."""
    pytest.importorskip("diffusers", reason="needs diffusers, extra 'diffusion'")
    root = tmp_path_factory.mktemp("together")
    toys = root / "toys"
    write_toys(toys / "data", {"train": 8, "val": 1})
    write_base(toys / "base")
    alone, both = root / "alone", root / "both"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "fixed_composites", together.few(training.fixed_composites))
        together.train_all(small_data, toys, alone)
        stopped = training.train(together.phnet_config("resumed", small_data, both), StopsAt(2))
    assert stopped.steps == 2
    done = torchrun("-m", together.__name__, small_data, toys, both)
    assert done.returncode == 0, done.stderr[-3000:]
    made = [ast.literal_eval((both / f"made.{rank}").read_text()) for rank in range(2)]
    return {"made": made} | {
        name: [torch.load(folder / name / "checkpoint.pt", weights_only=True) for folder in (alone, both)]
        for name in RUNS
    }


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_get_the_gradients_of_one(name, trained):
    """By AdamW's mean of them; a parameter without effect has a gradient of rounding errors."""
    one, two = ([values["exp_avg"] for values in run["optimizer"]["state"].values()] for run in trained[name])
    assert len(one) == len(two)
    largest = max(float(mean.abs().max()) for mean in one)
    assert largest > 0
    for expected, found in zip(one, two, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * largest)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_the_network_of_one(name, trained):
    """By its output: AdamW makes whole steps of the rounding errors of parameters without effect."""
    torch.manual_seed(0)
    picture, mask = torch.rand(1, 3, 32, 32), (torch.rand(1, 1, 32, 32) > 0.5).float()
    outputs = []
    for run in trained[name]:
        if name == "vae":
            network = HarmonyVAE(together.TINY_VAE)
        else:
            extractor = name != "released"
            network = PHNet(dataclasses.replace(together.SMALL, extractor=extractor))
        network.load_state_dict(run["average"], strict=name != "released")
        with torch.no_grad():
            latents = torch.ones(1, 4, 4, 4)
            vae = name == "vae"
            outputs.append(
                network.decode_with(latents, torch.cat([picture, mask], 1), latents)
                if vae
                else network.eval()(picture, mask)
            )
    assert trained[name][0]["progress"]["step"] == trained[name][1]["progress"]["step"]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-4)


def test_each_batch_is_made_by_one_of_the_processes_in_turn(trained):
    """Runs of 4, 2 and 2 steps, one that went on from step 2 to 4, and the harmony VAE's 2."""
    assert trained["made"] == [[[0, 2], [0], [0], [2], [0]], [[1, 3], [1], [1], [3], [1]]]


def test_a_batch_smaller_than_the_processes_is_refused():
    with pytest.raises(HarmonyError, match="a batch of 2 cannot be divided among 3 processes"):
        Processes(0, 3).parts((torch.zeros(2, 1),))


@pytest.mark.parametrize("samples", [7, 8])
def test_parts_are_the_batch(samples):
    batch = (torch.arange(samples), torch.arange(samples))
    parts = Processes(0, 3).parts(batch)
    assert [len(part[0]) for part in parts] == [(samples + 2 - rank) // 3 for rank in range(3)]
    assert torch.equal(torch.cat([part[0] for part in parts]), batch[0])


def test_turns_go_round_from_any_step():
    for step in (0, 4, 5):
        firsts = [Processes(rank, 3).first_turn(step) for rank in range(3)]
        assert sorted(firsts) == [step, step + 1, step + 2]
        assert [first % 3 for first in firsts] == [0, 1, 2]


def test_a_gpu_for_each_process_or_a_sentence():
    assert Processes(0, 2, 0).device("cpu") == "cpu"
    with pytest.raises(HarmonyError, match="2 processes need a GPU each; give device cuda"):
        Processes(1, 2, 1).device("cuda:0")
    with pytest.raises(HarmonyError, match="process 99 of this machine has no GPU"):
        Processes(99, 100, 99).device("cuda")


def test_an_environment_without_the_others_is_one_sentence(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(HarmonyError, match="start all of them with torchrun, or unset WORLD_SIZE"), joined("cpu"):
        pass


def test_pieces_give_the_gradients_of_the_whole_batch():
    torch.manual_seed(0)
    network, batch = nn.Conv2d(3, 3, 3), (torch.rand(5, 3, 8, 8), torch.rand(5, 3, 6, 6))

    def loss_of(network, part):
        return (network(part[0]) - part[1]).square().mean()

    found = []
    for accumulate in (1, 2, 9):
        loss = JointBackward(network, Processes(), accumulate).backward(loss_of, batch)
        found.append((loss, network.weight.grad.clone()))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)
        torch.testing.assert_close(gradient, found[0][1])


def test_compiled_training_is_refused_under_torchrun(small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    config = dataclasses.replace(together.phnet_config("plain", small_data, tmp_path), compiled=True, precision="bf16")
    with pytest.raises(HarmonyError, match="leave it out under torchrun"):
        training.train(config)


@pytest.mark.slow
def test_the_command_runs_under_torchrun(tmp_path):
    """DiffHarmony's, whose networks can be tiny; the first process alone prints."""
    pytest.importorskip("diffusers", reason="needs diffusers, extra 'diffusion'")
    write_toys(tmp_path / "data", {"train": 4})
    options = ("--steps", 1, "--size", 32, "--batch", 2, "--precision", "fp32", "--workers", 0, "--json")
    given = ("train-diffharmony", "harmony-vae", tmp_path / "data", "-o", tmp_path / "run")
    done = torchrun("-m", "harmonyrt.training", *given, "--checkpoint", write_base(tmp_path / "base"), *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count('"finished": true') == 1
    assert (tmp_path / "run" / "condition_vae" / "config.json").is_file()
    assert done.stderr.count("parameters are trained by 2 processes") == 1


@pytest.mark.parametrize(
    ("given", "called"),
    [
        (["data", "-o", "run"], ["train", "data", "-o", "run"]),
        (["train-diffharmony", "unet"], ["train-diffharmony", "unet"]),
    ],
)
def test_the_module_is_the_command_line(given, called, monkeypatch):
    calls = []
    monkeypatch.setattr("harmonyrt.cli.main.main", lambda arguments: (calls.append(arguments), 3)[1])
    assert entry.main(given) == 3
    assert calls == [called]


def test_processes_that_are_not_the_first_say_why_they_failed_and_nothing_else(monkeypatch, capsys):
    def fails(arguments):
        print("result")
        print("error: no GPU for me", file=sys.stderr)
        return 2

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(entry, "HELD_BACK", 0)
    monkeypatch.setattr("harmonyrt.cli.main.main", fails)
    assert entry.main(["data"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "process 1: error: no GPU for me\n")


def test_presets_are_refused_under_torchrun(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert entry.main(["data", "-o", "run", "--preset=shipped"]) == 2
    assert capsys.readouterr().err.startswith("error: --preset is for one process")
