"""Write DiffHarmony's vectors that both suites read: bundles made by hand, noise, harmonized pictures.

Run from the repository root, after a deliberate change of the loop, the noise or the picture path only:

    .venv/bin/python tests/vectors/write_diffusion_vectors.py

The networks are a few 1x1 convolutions and poolings, so that tests need neither weights nor an inference engine (the
C++ tests' stand-in backend computes them itself), but every input of every component counts: a draw out of order, a
wrong row of the step table or a mask of the wrong size shows in the picture.
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
from write_vectors import mask, picture

from harmonyrt.common.files import sha256_of
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.diffusion import RunOptions
from harmonyrt.runtime.diffusion.noise import NoiseStream
from harmonyrt.runtime.diffusion.schedule import Program, SamplingSchedule
from harmonyrt.runtime.images.foreground import foreground_ratio
from harmonyrt.runtime.manifest import FILE_NAME, EngineSpec, FileSpec, Manifest, ModelSpec, Parity, TensorSpec

HERE = Path(__file__).parent
PICTURES = "diffusion-pictures"
FACTOR = 8

# The networks: output channels by input channels. Also in runtime/cpp/tests/stand_in_diffusion.hpp.
ENCODE = [[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.0, 0.2, 0.9], [0.3, -0.4, 0.2]]
ENCODED_NOISE = 0.05
STEP = [
    [0.10, 0.9, 0.1, 0.0, 0.1],
    [-0.05, 0.0, 0.8, 0.2, -0.1],
    [0.05, 0.1, 0.0, 0.9, 0.2],
    [0.02, -0.2, 0.3, 0.1, 0.7],
]
TABLE = [[0.05, 0.9, 0.08], [0.5, 0.45, 0.10], [0.02, 0.95, 0.06], [0.6, 0.3, 0.07]]  # of latents, condition, noise
DECODE = [[0.8, 0.1, -0.05, 0.1], [0.05, 0.7, 0.1, -0.1], [0.0, 0.15, 0.75, 0.15]]
OF_CONDITION = {"image": 0.2, "mask": -0.06, "noise": 0.03}  # harmony VAE; noise: of its first three channels
REFINE = [  # of the pooled picture, the mask, the composite
    [0.7, 0.05, 0.0, 0.06, 0.2, 0.05, 0.0],
    [0.0, 0.65, 0.1, -0.05, 0.0, 0.25, 0.0],
    [0.05, 0.0, 0.7, 0.04, 0.0, 0.05, 0.2],
]
PROGRAMS = {2: Program(2, (1, 2), 3.0), 1: Program(1, (0,), 2.5), 3: Program(3, (3, 1, 2), 2.0)}

# bundle, width, height, mask, background, seed, sample, steps
CASES = [
    ("hand-made-kl", 64, 64, "ellipse", "waves", 0, 0, None),
    ("hand-made-kl", 63, 65, "soft", "waves", 1, 0, None),
    ("hand-made-kl", 131, 97, "ellipse", "leaves", 0, 3, 1),
    ("hand-made-kl", 33, 21, "soft", "leaves", 2**64 - 1, 2**64 - 1, 3),
    ("hand-made-kl", 5, 3, "full", "waves", 7, 0, 3),
    ("hand-made-kl", 33, 21, "empty", "waves", 0, 0, None),
    ("hand-made-harmony", 96, 64, "ellipse", "waves", 0, 0, None),
    ("hand-made-harmony", 97, 63, "soft", "leaves", 5, 1, 3),
    ("hand-made-harmony", 150, 203, "corners", "leaves", 12345678901234567890, 0, 1),
    ("hand-made-harmony", 1, 9, "full", "waves", 3, 2, 2),
]
NOISE = [(0, 0, 16), (1, 0, 5), (5, 3, 6), (2**64 - 1, 2**63 + 12345, 7)]


class Graph:
    """A graph that grows node by node; `add` gives the name of the result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        output = output or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, values: object, dtype: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), f"constant{len(self.constants)}"))
        return self.constants[-1].name

    def mixed(self, value: str, weights: object) -> str:
        """1x1 convolution without bias."""
        return self.add("Conv", value, self.constant(np.asarray(weights)[:, :, None, None]), kernel_shape=[1, 1])

    def pooled(self, value: str, side: int) -> str:
        return self.add("AveragePool", value, kernel_shape=[side, side], strides=[side, side])

    def scaled(self, value: str, by: float) -> str:
        return self.add("Mul", value, self.constant(by))

    def clipped(self, value: str, output: str) -> None:
        self.add("Clip", value, self.constant(0), self.constant(1), output=output)

    def model(self, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
        def tensor(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(
                name, TensorProto.INT64 if name == "step" else TensorProto.FLOAT, shape
            )

        ends = [[tensor(*one) for one in side.items()] for side in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, "hand-made", *ends, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def vae_encoder(schedule: SamplingSchedule) -> onnx.ModelProto:
    graph, size, latent = Graph(), schedule.inference_size, schedule.latent_shape
    colours = graph.mixed(graph.pooled("image", FACTOR), ENCODE)
    sample = graph.add("Add", colours, graph.scaled("noise", ENCODED_NOISE))
    graph.add("Concat", graph.pooled("mask", FACTOR), sample, output="condition", axis=1)
    return graph.model(
        {"image": (1, 3, *size), "mask": (1, 1, *size), "noise": latent}, {"condition": (1, 5, *latent[2:])}
    )


def unet(schedule: SamplingSchedule) -> onnx.ModelProto:
    graph, latent = Graph(), schedule.latent_shape
    row = graph.add("Gather", graph.constant(TABLE), "step", axis=0)
    parts = []
    for i, value in enumerate(("latents", graph.mixed("condition", STEP), "noise")):
        factor = graph.add("Gather", row, graph.constant([i], np.int64), axis=1)
        parts.append(graph.add("Mul", value, factor))
    graph.add("Add", graph.add("Add", parts[0], parts[1]), parts[2], output="next_latents")
    graph.add("Sub", "latents", parts[1], output="predicted_noise")
    inputs = {"latents": latent, "condition": (1, 5, *latent[2:]), "noise": latent, "step": (1,)}
    return graph.model(inputs, {"next_latents": latent, "predicted_noise": latent})


def vae_decoder(schedule: SamplingSchedule) -> onnx.ModelProto:
    graph, size, latent = Graph(), schedule.inference_size, schedule.latent_shape
    small, inputs = graph.mixed("latents", DECODE), {"latents": latent}
    if schedule.conditional:
        inputs |= {"image": (1, 3, *size), "mask": (1, 1, *size), "noise": latent}
        weights = np.eye(3, 4) * OF_CONDITION["noise"]
        small = graph.add("Add", small, graph.mixed("noise", weights))
    large = graph.add(
        "Resize",
        small,
        "",
        graph.constant([1, 1, FACTOR, FACTOR]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    for name in ("image", "mask") if schedule.conditional else ():
        large = graph.add("Add", large, graph.scaled(name, OF_CONDITION[name]))
    graph.clipped(large, "picture")
    return graph.model(inputs, {"picture": (1, 3, *size)})


def refiner(schedule: SamplingSchedule) -> onnx.ModelProto:
    graph, size = Graph(), schedule.output_size
    both = graph.add(
        "Concat", graph.pooled("image", schedule.inference_size[0] // size[0]), "mask", "composite", axis=1
    )
    graph.clipped(graph.mixed(both, REFINE), "output")
    inputs = {"image": (1, 3, *schedule.inference_size), "mask": (1, 1, *size), "composite": (1, 3, *size)}
    return graph.model(inputs, {"output": (1, 3, *size)})


def schedule_of(
    inference: tuple[int, int], output: tuple[int, int], conditional: bool, refiner_channels: int
) -> SamplingSchedule:
    return SamplingSchedule(inference, output, 4, FACTOR, conditional, refiner_channels, "linspace", 2, PROGRAMS)


def write_bundle(name: str, schedule: SamplingSchedule) -> Path:
    """A bundle with hand-made components as ONNX and as OpenVINO IR."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    makers = {"vae-encoder": vae_encoder, "unet": unet, "vae-decoder": vae_decoder, "refiner": refiner}
    engines = []
    for component in schedule.components:
        place = folder / component
        place.mkdir(parents=True)
        onnx.save(makers[component](schedule), place / "model.onnx")
        openvino.save_model(
            openvino.convert_model(place / "model.onnx"), place / "openvino.xml", compress_to_fp16=False
        )
        for target, files in (("onnx", ["model.onnx"]), ("openvino", ["openvino.xml", "openvino.bin"])):
            specs = tuple(FileSpec(f"{component}/{f}", sha256_of(place / f), (place / f).stat().st_size) for f in files)
            parity = Parity(0, 0.0, 200.0, "made by hand", "nothing")
            engines.append(EngineSpec(target, "fp32", specs, {"float32": 1}, parity, component=component))

    def tensor(tensor_name: str, channels: int, size: tuple[int, int], meaning: str) -> TensorSpec:
        return TensorSpec(tensor_name, (1, channels, *size), "float32", "NCHW", (0.0, 1.0), meaning)

    manifest = Manifest(
        name=name,
        model=ModelSpec(
            "diffharmony", {"loop": schedule.to_config()}, 60, "made by hand", "0" * 64, random_weights=True
        ),
        precision="fp32",
        size=schedule.inference_size,
        batch=1,
        working_size=max(schedule.inference_size),
        size_multiple=FACTOR,
        binary_mask=True,
        inputs=(
            tensor("image", 3, schedule.inference_size, "composite"),
            tensor("mask", 1, schedule.inference_size, "mask"),
        ),
        outputs=(tensor("output", 3, schedule.output_size, "output"),),
        engines=tuple(engines),
        tools={},
        recipe={},
        recipe_sha256="0" * 64,
        created="2026-01-01T00:00:00+00:00",
    )
    (folder / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return folder


def noise(seed: int, sample: int, count: int) -> dict[str, object]:
    """NumPy's raw words, and the normal numbers of two tensors, one after the other."""
    words = np.random.Philox(key=np.array([seed, sample], np.uint64)).random_raw(count)
    stream = NoiseStream(seed, sample)
    tensors = [stream.normal((count,)).tolist(), stream.normal((3,)).tolist()]
    # Numbers above 2^53 are text: JSON readers may take them for floats.
    return {"seed": str(seed), "sample": str(sample), "words": [f"{word:016x}" for word in words], "tensors": tensors}


def main() -> None:
    """Write bundles, pictures and diffusion.json."""
    schedules = {
        "hand-made-kl": schedule_of((64, 64), (32, 32), False, 7),
        "hand-made-harmony": schedule_of((64, 96), (64, 96), True, 0),
    }
    harmonizers = {
        name: Harmonizer.open(write_bundle(name, schedule), backend="onnxruntime", threads=1)
        for name, schedule in schedules.items()
    }
    shutil.rmtree(HERE / PICTURES, ignore_errors=True)
    (HERE / PICTURES).mkdir()
    cases = []
    for bundle, width, height, shape, background, seed, sample, steps in CASES:
        composite, foreground = picture(width, height, background), mask(width, height, shape)
        options = RunOptions(seed=seed, sample=sample, steps=steps)
        harmonized = harmonizers[bundle].harmonize(composite, foreground, options=options)
        name = f"{width}x{height}-{shape}-{background}-{bundle.removeprefix('hand-made-')}"
        files = {"composite": composite, "mask": foreground, "harmonized": harmonized}
        for what, array in files.items():
            Image.fromarray(array).save(HERE / PICTURES / f"{name}-{what}.png", optimize=True)
        run = {"seed": str(seed), "sample": str(sample), "steps": steps or 0}
        run |= {"foreground_ratio": round(foreground_ratio(foreground), 6)}
        cases.append({"name": name, "bundle": bundle, **run, **{w: f"{PICTURES}/{name}-{w}.png" for w in files}})
    document = {
        "what": "composite + mask + seed -> harmonized, by the Python runtime; others agree within `tolerance` levels",
        "tolerance": 1,
        "noise": [noise(*one) for one in NOISE],
        "cases": cases,
    }
    (HERE / "diffusion.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
