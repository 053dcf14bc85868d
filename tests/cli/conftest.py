"""A bundle made by hand (its network darkens: output = 0.9 x image), pictures, and a way to run the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.cli.main import main
from harmonyrt.common.files import sha256_of
from harmonyrt.runtime.manifest import EngineSpec, FileSpec, Manifest, ModelSpec, Parity, TensorSpec

SIDE = 32


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """A bundle that opens with onnxruntime."""
    onnx = pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("engines") / "phnet-32-fp32"
    folder.mkdir()
    onnx.save(_darkening(onnx), folder / "model.onnx")
    file = FileSpec("model.onnx", sha256_of(folder / "model.onnx"), (folder / "model.onnx").stat().st_size)
    parity = Parity(1, 0.0, 200.0, "max_abs_error <= 1e-4", "made by hand")
    manifest = Manifest(
        name=folder.name,
        model=ModelSpec("phnet", {}, 1, "none.pth", "0" * 64),
        precision="fp32",
        size=(SIDE, SIDE),
        batch=1,
        working_size=SIDE,
        size_multiple=8,
        binary_mask=False,
        inputs=(_tensor("image", 3, "composite"), _tensor("mask", 1, "mask")),
        outputs=(_tensor("output", 3, "output"),),
        engines=(EngineSpec("onnx", "fp32", (file,), {"float32": 1}, parity),),
        tools={},
        recipe={},
        recipe_sha256="0" * 64,
        created="2026-01-01T00:00:00+00:00",
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    return folder


def _tensor(name: str, channels: int, meaning: str) -> TensorSpec:
    return TensorSpec(name, (1, channels, SIDE, SIDE), "float32", "NCHW", (0.0, 1.0), meaning)


def _darkening(onnx):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Mul", ["image", "factor"], ["output"])],
        "darkening",
        [
            helper.make_tensor_value_info("image", kind, [1, 3, SIDE, SIDE]),
            helper.make_tensor_value_info("mask", kind, [1, 1, SIDE, SIDE]),
        ],
        [helper.make_tensor_value_info("output", kind, [1, 3, SIDE, SIDE])],
        [helper.make_tensor("factor", kind, [], [0.9])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one sentence on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0]


@pytest.fixture
def run(capsys):
    """Run `harmonyrt ARGUMENTS` in this process."""

    def command(*arguments: object) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return command


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in, with a composite and its mask."""
    rng = np.random.default_rng(3)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(rng.integers(60, 250, (48, 64, 3), dtype=np.uint8)).save("composite.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


@pytest.fixture
def folders(place) -> Path:
    """Folders of three composites and masks, beside `place`'s own pictures."""
    for name in ("composites", "masks"):
        (place / name).mkdir()
    for name in ("a", "b", "c"):
        Image.open("composite.png").save(place / "composites" / f"{name}.png")
        Image.open("mask.png").save(place / "masks" / f"{name}.png")
    return place


@pytest.fixture
def names():
    """Every file below the working folder, hidden ones too."""
    return lambda: sorted(str(path) for path in Path().rglob("*") if path.is_file())
