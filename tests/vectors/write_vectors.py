"""Write the vectors that both suites read: tiny bundles, pictures, and what the runtime makes of them.

Run from the repository root, after a deliberate change of the runtime's picture path only:

    .venv/bin/python tests/vectors/write_vectors.py

The network is made by hand, so that no trained weights are needed: ``output = M @ image + G * mask + B + Q * image^2``,
which is enough for the result to differ from place to place. It is not clamped, as released networks are not.
Every case is exact for the Python runtime that wrote it; C++ must agree to within 1 level of 255.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from harmonyrt.common.files import sha256_of
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.images.foreground import foreground_ratio
from harmonyrt.runtime.manifest import FILE_NAME, EngineSpec, FileSpec, Manifest, ModelSpec, Parity, TensorSpec

HERE = Path(__file__).parent
SIDE = 64

# The network, also written into tests/vectors/vectors.json for the C++ tests' stand-in backend.
MATRIX = [[0.80, 0.10, -0.05], [0.05, 0.70, 0.10], [0.00, 0.15, 0.75]]
OF_MASK = [0.08, -0.04, -0.10]
BIAS = [0.05, 0.02, -0.03]
SQUARE = [0.20, -0.15, 0.30]

# width, height, mask, background, bundle
CASES = [
    *[
        (w, h, "ellipse", "waves", "static")
        for w, h in [(64, 64), (63, 65), (97, 131), (128, 96), (200, 150), (321, 77)]
    ],
    *[(w, h, "soft", "waves", "static") for w, h in [(64, 64), (65, 64), (31, 33), (150, 203), (175, 177)]],
    *[(w, h, "soft", "leaves", "dynamic") for w, h in [(64, 64), (72, 40), (75, 41), (130, 67), (161, 100)]],
    *[(w, h, "ellipse", "leaves", "dynamic") for w, h in [(57, 91), (60, 200), (140, 101)]],
    *[(w, h, "ellipse", "leaves", "static") for w, h in [(201, 110), (120, 121), (16, 16), (15, 9)]],
    *[(w, h, "full", "waves", "static") for w, h in [(1, 1), (2, 1), (1, 9), (5, 3), (40, 70)]],
    *[(w, h, "empty", "waves", "static") for w, h in [(33, 21)]],
    *[(w, h, "sliver", "leaves", "static") for w, h in [(99, 100), (222, 64)]],
    *[(w, h, "corners", "waves", "dynamic") for w, h in [(90, 90), (111, 53)]],
    *[(w, h, "corners", "leaves", "static") for w, h in [(111, 53), (144, 108), (130, 131)]],
]
# the same, and the alpha that the composite has
TRANSPARENT = [
    (64, 64, "ellipse", "waves", "static", "left"),
    (64, 64, "soft", "leaves", "static", "fading"),
    (97, 131, "soft", "waves", "static", "left"),
    (150, 100, "ellipse", "leaves", "static", "fading"),
    (31, 33, "corners", "waves", "static", "fading"),
    (90, 70, "ellipse", "waves", "dynamic", "left"),
    (120, 80, "soft", "leaves", "static", "cut-out"),
]
# the same, with alpha or None, and what `harmonize` takes besides; `match` names a mask
CONTROLLED = [
    (64, 64, "soft", "waves", "static", None, {"strength": 0.0}),
    (97, 131, "soft", "leaves", "static", "left", {"strength": 0.0}),
    (64, 64, "soft", "waves", "static", None, {"strength": 0.5}),
    (97, 131, "soft", "waves", "static", None, {"strength": 0.5}),
    (130, 67, "soft", "leaves", "dynamic", None, {"strength": 1.5}),
    (64, 64, "ellipse", "waves", "static", None, {"keep": "luminance"}),
    (128, 96, "soft", "waves", "static", None, {"keep": "luminance"}),
    (128, 96, "soft", "leaves", "static", None, {"keep": "hue"}),
    (90, 70, "ellipse", "waves", "dynamic", "left", {"keep": "hue", "strength": 1.25}),
    (64, 64, "soft", "waves", "static", None, {"match": "corners"}),
    (131, 97, "ellipse", "leaves", "static", None, {"match": "sliver", "strength": 0.75}),
    (120, 80, "soft", "leaves", "static", "fading", {"match": "corners", "keep": "luminance"}),
    (65, 64, "soft", "waves", "static", None, {"match": "full"}),
]


def network(side: int | None) -> onnx.ModelProto:
    """The hand-made network: of one size, or of any."""
    batch, height, width = (1, side, side) if side else ("n", "h", "w")
    weights = np.concatenate([np.array(MATRIX), np.array(OF_MASK)[:, None]], 1).astype(np.float32)[:, :, None, None]
    nodes = [
        helper.make_node("Concat", ["image", "mask"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "weights", "bias"], ["mixed"], kernel_shape=[1, 1]),
        helper.make_node("Mul", ["image", "image"], ["squared"]),
        helper.make_node("Mul", ["squared", "square"], ["curved"]),
        helper.make_node("Add", ["mixed", "curved"], ["output"]),
    ]

    def tensor(name: str, channels: int):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, channels, height, width])

    graph = helper.make_graph(
        nodes,
        "hand-made",
        [tensor("image", 3), tensor("mask", 1)],
        [tensor("output", 3)],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array(BIAS, np.float32), "bias"),
            numpy_helper.from_array(np.array(SQUARE, np.float32).reshape(1, 3, 1, 1), "square"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write_bundle(name: str, side: int | None) -> Path:
    """A bundle with the hand-made network as ONNX and as OpenVINO IR."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    onnx.save(network(side), folder / "model.onnx")
    openvino.save_model(openvino.convert_model(folder / "model.onnx"), folder / "openvino.xml", compress_to_fp16=False)

    def engine(target: str, *files: str) -> EngineSpec:
        specs = tuple(FileSpec(f, sha256_of(folder / f), (folder / f).stat().st_size) for f in files)
        return EngineSpec(target, "fp32", specs, {"float32": 5}, Parity(0, 0.0, 200.0, "made by hand", "nothing"))

    batch, height, width = (1, side, side) if side else (-1, -1, -1)
    manifest = Manifest(
        name=name,
        model=ModelSpec("phnet", {}, 18, "made by hand", "0" * 64, random_weights=True),
        precision="fp32",
        size=(side, side) if side else None,
        batch=1 if side else None,
        working_size=side or SIDE,
        size_multiple=8,
        binary_mask=side is not None,
        inputs=(
            TensorSpec("image", (batch, 3, height, width), "float32", "NCHW", (0.0, 1.0), "composite"),
            TensorSpec("mask", (batch, 1, height, width), "float32", "NCHW", (0.0, 1.0), "mask"),
        ),
        outputs=(TensorSpec("output", (batch, 3, height, width), "float32", "NCHW", (0.0, 1.0), "output"),),
        engines=(engine("onnx", "model.onnx"), engine("openvino", "openvino.xml", "openvino.bin")),
        tools={},
        recipe={},
        recipe_sha256="0" * 64,
        created="2026-01-01T00:00:00+00:00",
    )
    (folder / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return folder


def picture(width: int, height: int, kind: str) -> np.ndarray:
    """A smooth picture with edges, uint8; `leaves` has fine detail as well."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    u, v = x / max(width - 1, 1), y / max(height - 1, 1)
    planes = [0.5 + 0.45 * np.sin(3 * u + 2 * v + p) * np.cos(2.5 * v - u * p) for p in (0.3, 1.1, 2.2)]
    rgb = np.stack(planes, -1)
    rgb[(x + 2 * y) % 61 < 24] *= 0.72
    if kind == "leaves":
        rgb = rgb * (0.85 + 0.15 * np.sin(0.9 * x + 0.3 * y) * np.cos(0.7 * y))[..., None]
    return np.clip(np.round(rgb * 255), 0, 255).astype(np.uint8)


def mask(width: int, height: int, kind: str) -> np.ndarray:
    """uint8, 255 = foreground."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    distance = np.hypot((x - width * 0.45) / (width * 0.3), (y - height * 0.55) / (height * 0.35))
    if kind == "ellipse":
        return np.where(distance < 1, 255, 0).astype(np.uint8)
    if kind == "soft":
        return np.clip((1.15 - distance) * 3 * 255, 0, 255).astype(np.uint8)
    if kind == "sliver":
        return np.where(np.abs(x * height - y * width) < 1.5 * height, 255, 0).astype(np.uint8)
    if kind == "corners":
        return np.where((x < width * 0.3) | (y > height * 0.8), 255, 0).astype(np.uint8)
    return np.full((height, width), 255 if kind == "full" else 0, np.uint8)


def alpha(foreground: np.ndarray, kind: str) -> np.ndarray:
    """uint8, 255 = opaque."""
    height, width = foreground.shape
    across = np.broadcast_to(np.arange(width, dtype=np.float64) / width, (height, width))
    if kind == "left":
        return np.where(across < 0.4, 0, 255).astype(np.uint8)
    return foreground if kind == "cut-out" else np.clip(across * 400 - 60, 0, 255).astype(np.uint8)


def main() -> None:
    """Write bundles, pictures and vectors.json."""
    bundles = {"static": write_bundle("hand-made-64", SIDE), "dynamic": write_bundle("hand-made-dynamic", None)}
    harmonizers = {kind: Harmonizer.open(path, backend="onnxruntime", threads=1) for kind, path in bundles.items()}
    pictures = HERE / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    cases = []
    plain = [(*case, {}) for case in [*[(*case, None) for case in CASES], *TRANSPARENT]]
    for width, height, shape, background, kind, transparent, controls in [*plain, *CONTROLLED]:
        composite, foreground = picture(width, height, background), mask(width, height, shape)
        if transparent:
            composite = np.dstack([composite, alpha(foreground, transparent)])
        files = {"composite": composite, "mask": foreground}
        given = dict(controls)
        if "match" in controls:
            files["match"] = given["match"] = mask(width, height, controls["match"])
        files["harmonized"] = harmonizers[kind].harmonize(composite, foreground, **given)
        words = [f"{key}-{value}" for key, value in controls.items()]
        name = "-".join([f"{width}x{height}", shape, background, kind, *([transparent] if transparent else []), *words])
        for what, array in files.items():
            Image.fromarray(array).save(pictures / f"{name}-{what}.png", optimize=True)
        ratio = round(foreground_ratio(foreground), 6)
        written = {w: f"pictures/{name}-{w}.png" for w in files}
        cases.append({"name": name, "bundle": bundles[kind].name, "foreground_ratio": ratio, **written})
        if transparent:
            cases[-1]["alpha"] = True
        cases[-1] |= {key: value for key, value in controls.items() if key != "match"}
    document = {
        "what": "composite + mask -> harmonized, by the Python runtime; others must agree to within `tolerance` levels",
        "tolerance": 1,
        "network": {"matrix": MATRIX, "mask": OF_MASK, "bias": BIAS, "square": SQUARE},
        "cases": cases,
    }
    (HERE / "vectors.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
