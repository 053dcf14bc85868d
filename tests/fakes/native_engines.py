"""Engines of native operators in a bundle, and libharmonyrt that runs them in a separate process."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from harmonyrt.export.build.bundle import file_spec
from harmonyrt.export.rewrites import native as native_rewrite
from harmonyrt.export.targets import BUILDERS, BuildOptions
from harmonyrt.runtime import native

ROOT = Path(__file__).parents[2]
INSTALLED = Path(os.environ.get("HARMONYRT_CPP", ROOT / "build/cpp/install"))
TARGET = {"openvino": "openvino", "onnxruntime": "onnx"}
SMALL = """<ir_version: 9, opset_import: ["": 18]>
g (float[1,3,64,64] image, float[1,1,64,64] mask) => (float[1,3,64,64] output) {
    masked = Mul (image, mask)
    c1 = Conv <pads = [1,1,1,1]> (masked, w1, b)
    r1 = Relu (c1)
    c2 = Conv <pads = [1,1,1,1]> (r1, w2, b)
    r2 = LeakyRelu (c2)
    c3 = Conv <pads = [1,1,1,1]> (r2, w3)
    output = Sigmoid (c3)
}"""
CALLER = """
import ctypes, sys
import numpy as np
library, bundle, folder = sys.argv[1:]
hrt = ctypes.CDLL(library)
hrt.hrt_last_error.restype = hrt.hrt_model_notes.restype = ctypes.c_char_p
model, session = ctypes.c_void_p(), ctypes.c_void_p()
if hrt.hrt_model_open(bundle.encode(), None, ctypes.byref(model)) or hrt.hrt_session_open(model, ctypes.byref(session)):
    sys.exit(hrt.hrt_last_error().decode())
print(hrt.hrt_model_notes(model).decode())
image, mask = np.load(f"{folder}/image.npy"), np.load(f"{folder}/mask.npy")
output = np.zeros_like(image)
pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (image, mask, output)]
if hrt.hrt_run_f32(session, *pointers, *(ctypes.c_int32(image.shape[i]) for i in (0, 2, 3))):
    sys.exit(hrt.hrt_last_error().decode())
np.save(f"{folder}/output.npy", output)
hrt.hrt_session_free(session)
hrt.hrt_model_free(model)
"""


def why_not(backend: str) -> str | None:
    """Why libharmonyrt cannot run native engines of a backend here; None when it can."""
    if not (INSTALLED / f"lib/harmonyrt/libharmonyrt_{backend}.so").is_file():
        return f"needs the C++ runtime with its {backend} module: run make cpp"
    return None if native.library(backend) else "needs the native kernels in C++: run make native"


def environment() -> dict[str, str]:
    """With the ONNX Runtime of Python's wheel, which serves the module too."""
    found = importlib.util.find_spec("onnxruntime")
    folder = Path(found.origin).parent / "capi" if found and found.origin else Path()
    library = next(folder.glob("libonnxruntime.so.*"), None)
    return {**os.environ, **({"HARMONYRT_ONNXRUNTIME": str(library)} if library else {})}


def small_graph(rewritten: bool = True) -> onnx.ModelProto:
    """Three convolutions of random weights at 64 x 64, with the middle one for the native kernels or without."""
    parsed = onnx.parser.parse_model(SMALL)
    rng = np.random.default_rng(0)
    for name, shape in (("w1", (64, 3, 3, 3)), ("w2", (64, 64, 3, 3)), ("w3", (3, 64, 3, 3)), ("b", (64,))):
        weights = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        parsed.graph.initializer.append(onnx.numpy_helper.from_array(weights.astype(np.float32), name))
    model = ir.from_proto(onnx.shape_inference.infer_shapes(parsed))
    if rewritten:
        assert native_rewrite.apply(model) == 1
    return ir.to_proto(model)


def bundle_of(model: onnx.ModelProto, backend: str, folder: Path) -> Path:
    """A bundle with one engine, of a graph with the inputs `image` and `mask` and one output."""
    folder.mkdir()
    (built,) = BUILDERS[TARGET[backend]](ir.from_proto(model), folder, "fp32", BuildOptions(TARGET[backend], (8, 8)))
    manifest = json.loads((ROOT / "tests/vectors/hand-made-64/manifest.json").read_text())
    (image, mask), (output,) = model.graph.input, model.graph.output
    for described, value in zip((*manifest["inputs"], *manifest["outputs"]), (image, mask, output), strict=True):
        described["name"] = value.name
        described["shape"] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    manifest["outputs"][0]["shape"] = manifest["inputs"][0]["shape"]
    manifest["size"] = manifest["inputs"][0]["shape"][2:]
    engine = next(one for one in manifest["engines"] if one["target"] == TARGET[backend])
    specs = [file_spec(folder, name) for name in built.files]
    engine.update(needs=built.needs, files=[{"path": s.path, "sha256": s.sha256, "bytes": s.bytes} for s in specs])
    manifest["engines"] = [engine]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def run(bundle: Path, backend: str, image: np.ndarray, mask: np.ndarray, folder: Path) -> tuple[np.ndarray, str]:
    """The network's output as libharmonyrt computes it, and what it says of the engine that it opened.

    Args:
        bundle: that :func:`bundle_of` wrote.
        backend: the only one whose module there is; the native library lies next to it.
        image: (1,3,H,W) float32.
        mask: (1,1,H,W) float32.
        folder: an empty one.
    """
    modules = folder / "modules"
    modules.mkdir()
    for file in (INSTALLED / f"lib/harmonyrt/libharmonyrt_{backend}.so", native.library(backend)):
        assert file is not None
        shutil.copy(file, modules / file.name)
    np.save(folder / "image.npy", np.ascontiguousarray(image))
    np.save(folder / "mask.npy", np.ascontiguousarray(mask))
    environ = {**environment(), "HARMONYRT_MODULES": str(modules), "XDG_CACHE_HOME": str(folder)}
    environ.pop(native.VARIABLE, None)
    command = [sys.executable, "-c", CALLER, str(INSTALLED / "lib/libharmonyrt.so"), str(bundle), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=300)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "output.npy"), done.stdout
