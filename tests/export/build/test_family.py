"""A third family is one file: two convolutions go through the same build job to a bundle that opens."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import sha256_of
from harmonyrt.export.build import options
from harmonyrt.export.build.composites import composites
from harmonyrt.export.build.family import NETWORK, Component, Described, Results, Typed, tensor
from harmonyrt.export.build.gate import Reference
from harmonyrt.export.build.recipe import split_targets
from harmonyrt.export.build_engines import main
from harmonyrt.export.precision import simulate, typed_graph
from harmonyrt.export.targets import BUILDERS, BuildOptions
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.manifest import ModelSpec

SIZE = (32, 48)


class Toy(nn.Module):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, image, mask):
        return torch.sigmoid(self.second(torch.relu(self.first(torch.cat([image, mask], 1)))))


# --- the family: all that it takes


@dataclasses.dataclass(frozen=True)
class ToyRecipe:
    source_name: str
    source_sha256: str
    precision: str
    targets: tuple[str, ...]
    skipped: tuple
    options: BuildOptions
    size: tuple[int, int] = SIZE
    rewrites: tuple[str, ...] = ()
    tune: float | None = None

    @property
    def name(self) -> str:
        return f"toy-{self.precision}"

    def facts(self) -> dict:
        return {"model": "toy", "source": self.source_sha256, "precision": self.precision}


class ToySession:
    def __init__(self, network: Toy) -> None:
        self.network = network

    def components(self, recipe):
        cases = []
        for one in composites(recipe.size, 3):
            with torch.inference_mode():
                output = self.network(torch.from_numpy(one.image), torch.from_numpy(one.mask)).numpy()
            cases.append(Reference(one.name, {"image": one.image, "mask": one.mask}, {"output": output}))
        example = torch.from_numpy(one.image), torch.from_numpy(one.mask)
        names = {"input_names": ["image", "mask"], "output_names": ["output"], "verbose": False}
        model = torch.onnx.export(self.network, example, dynamo=True, opset_version=18, **names).model

        def typed(target, precision, rewrites):
            return Typed(model if precision == "fp32" else typed_graph(model, precision), (), precision)

        yield Component(NETWORK, 100, cases, typed, simulate)

    def measure_whole(self, recipe, runs):
        return None

    def describe(self, recipe, results: Results) -> Described:
        model = ModelSpec("phnet", {"kind": "toy"}, 100, recipe.source_name, recipe.source_sha256)
        inputs = tensor("image", 3, recipe.size, "composite"), tensor("mask", 1, recipe.size, "mask")
        return Described(model, recipe.size, max(SIZE), 1, inputs, (tensor("output", 3, recipe.size, "output"),))


class ToyFamily:
    FALLBACK = {"fp32": ("fp32",), "fp16": ("fp16", "fp32")}  # noqa: RUF012

    def add_options(self, parser):
        parser.add_argument("--checkpoint", required=True, help="weights")

    def recipes(self, arguments):
        common = BuildOptions("", SIZE, threads=arguments.threads)
        sha256 = sha256_of(arguments.checkpoint)
        return [
            ToyRecipe("toy.pt", sha256, precision, *split_targets(arguments.targets, precision, SIZE), common)
            for precision in arguments.precisions
        ]

    def component_names(self, recipe):
        return (NETWORK,)

    def built_together(self, recipes):
        return [list(recipes)]

    def load(self, recipe, report):
        network = Toy().eval()
        report("loading the toy")
        network.load_state_dict(torch.load(io.BytesIO(WEIGHTS), weights_only=True))
        return ToySession(network)


# --- what a build makes of it


def _weights() -> bytes:
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save(Toy().state_dict(), file)
    return file.getvalue()


WEIGHTS = _weights()


@pytest.fixture
def build(tmp_path, monkeypatch, capsys):
    """build(*options) -> exit code and stdout of `harmonyrt build toy`."""
    (tmp_path / "toy.pt").write_bytes(WEIGHTS)
    named = options.family_named
    monkeypatch.setitem(options.FAMILIES, "toy", "this file")
    monkeypatch.setattr(options, "family_named", lambda name: ToyFamily() if name == "toy" else named(name))
    line = ["toy", "--checkpoint", str(tmp_path / "toy.pt"), "--output", str(tmp_path / "out"), "--threads", "1"]

    def run(*more: str) -> tuple[int, str]:
        code = main([*line, *more])
        return code, capsys.readouterr().out

    return run


def test_a_third_family_builds_bundles_that_the_runtime_opens(build, tmp_path):
    code, said = build("--precisions", "fp32", "fp16", "--json")
    assert code == 0, said
    assert [bundle["status"] for bundle in json.loads(said)["bundles"]] == ["built", "built"]
    manifest = open_bundle(tmp_path / "out" / "toy-fp16").manifest
    assert manifest.engines[0].census == {"float16": 2}
    assert "simulated" in manifest.engines[0].parity.measured_on
    picture = np.full((*SIZE, 3), 99, np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    mask[8:20, 8:20] = 255
    found = Harmonizer.open(tmp_path / "out" / "toy-fp32", device="cpu").harmonize(picture, mask)
    assert (found[mask == 0] == 99).all()
    assert (found[mask > 0] != 99).any()
    assert "nothing changed" in build("--precisions", "fp32", "fp16")[1]


def test_its_targets_are_refused_or_left_out_like_any_others(build, tmp_path, monkeypatch):
    def refusing(model, folder, precision, given):
        raise HarmonyError("no GPU for this target: use another one")

    monkeypatch.setitem(BUILDERS, "tensorrt", refusing)
    monkeypatch.setattr("harmonyrt.export.build.recipe.check_packages", lambda targets: None)
    assert build("--targets", "tensorrt")[0] == 2
    assert not (tmp_path / "out" / "toy-fp32").exists()
    code, said = build("--targets", "tensorrt", "onnx")
    assert (code, "not possible: tensorrt fp32: no GPU" in said) == (0, True)
    manifest = open_bundle(tmp_path / "out" / "toy-fp32").manifest
    assert [engine.target for engine in manifest.engines] == ["onnx"]


_KILLED = """
import os, signal, sys
import test_family as toy
from harmonyrt.export.build import options
from harmonyrt.export.targets import BUILDERS

named = options.family_named
options.FAMILIES["toy"] = "this file"
options.family_named = lambda name: toy.ToyFamily() if name == "toy" else named(name)
BUILDERS["onnx"] = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
toy.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_build_leaves_its_scratch_to_the_next_one(build, tmp_path):
    output, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", _KILLED, "toy", "--checkpoint", str(tmp_path / "toy.pt"), "--output", str(output)]
    settings = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parent)}
    assert subprocess.run(command, env=settings, check=False).returncode == -signal.SIGKILL
    assert not list(temporary.glob("harmonyrt*"))
    assert len(list(output.glob(".toy-fp32.building-*"))) == 2  # the bundle, and what its gate runs
    assert build()[0] == 0
    assert [path.name for path in output.iterdir()] == ["toy-fp32"]
