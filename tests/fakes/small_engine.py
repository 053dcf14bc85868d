"""A real engine that builds in a second: multiplies by a mask and convolves. What tests on a GPU run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from harmonyrt.common.files import sha256_of
from harmonyrt.export.targets import BuildOptions
from harmonyrt.export.tensorrt_engine import build as to_tensorrt
from harmonyrt.runtime.manifest import EngineSpec, FileSpec, Parity

SIDE = 64
WEIGHT = np.random.default_rng(0).random((3, 3, 3, 3), np.float32)


@dataclass(frozen=True)
class SmallEngine:
    """The file, what a manifest would say of it, and whether it runs on this machine."""

    path: Path
    spec: EngineSpec
    runs_here: bool


def graph() -> onnx.ModelProto:
    """image (1,3,64,64) and mask (1,1,64,64) -> output: 3 x 3 convolution of their product."""
    shapes = {"image": (1, 3, SIDE, SIDE), "mask": (1, 1, SIDE, SIDE), "output": (1, 3, SIDE, SIDE)}
    values = {n: onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in shapes.items()}
    nodes = [
        onnx.helper.make_node("Mul", ["image", "mask"], ["product"], "mul"),
        onnx.helper.make_node("Conv", ["product", "weight"], ["output"], "conv", pads=[1, 1, 1, 1]),
    ]
    taken, given = [values["image"], values["mask"]], [values["output"]]
    weights = [onnx.numpy_helper.from_array(WEIGHT, "weight")]
    opset = onnx.helper.make_opsetid("", 17)
    whole = onnx.helper.make_graph(nodes, "g", taken, given, weights)
    return onnx.helper.make_model(whole, opset_imports=[opset], ir_version=8)


def build(target: str, folder: Path) -> SmallEngine:
    """Build it with the installed flavour; of several engines, the one that runs here."""
    built = to_tensorrt.build(ir.from_proto(graph()), folder, "fp32", BuildOptions(target, (SIDE, SIDE)))
    engine = next((one for one in built if one.runs_here), built[0])
    path = folder / engine.files[0]
    file = FileSpec(path.name, sha256_of(path), path.stat().st_size)
    spec = EngineSpec(target, "fp32", (file,), engine.counts, Parity(1, 0, 100, "", ""), engine.needs)
    return SmallEngine(path, spec, engine.runs_here)
