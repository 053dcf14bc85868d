"""What a bundle is to Triton: its engines for Triton's own backends, and a model that harmonizes pictures of any size.

Sources: Triton's model configuration (model_config.proto) and the parameters that its onnxruntime, openvino and python
backends document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.bundle import Bundle
from harmonyrt.runtime.choices import FASTEST
from harmonyrt.runtime.manifest import EngineSpec, Manifest, TensorSpec
from harmonyrt.serving.triton.text import Word

VERSION = "1"
HARMONIZE = "-harmonize"
"""What follows the bundle's name in the name of the model that harmonizes pictures."""
BUNDLE = "bundle"
"""Folder of the bundle's copy, in the version folder of the model that harmonizes."""
MODEL_PY = 'from harmonyrt.serving.triton.python_model import TritonPythonModel\n\n__all__ = ["TritonPythonModel"]\n'

TARGETS = ("onnx", "openvino", "tensorrt")
"""Targets that Triton has a backend for."""
_APART = {"lean_runtime": "--lean-runtime", "weights": "--strip-weights"}
"""Needs of TensorRT's engines that lie in other files, and the option of the build that put them there."""
_BACKEND = {"onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}
_TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
}
_LARGEST_BATCH = 8  # as the runtime's own: more costs memory and gains nothing


@dataclass(frozen=True)
class Placing:
    """Where and how often models run.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, or None: engines of TensorRT on every GPU, all others on the CPU.
        instances: of each model, per GPU or on the CPU.
        threads: CPU threads of an instance; None: the cores that the process may use, divided by the instances.
        max_megapixels: largest picture that the model which harmonizes takes.
        backend: of the model which harmonizes, as `Harmonizer.open` takes it.
        precision: likewise; and only engines of this one are written, or of all.
    """

    device: str | None = None
    instances: int = 1
    threads: int | None = None
    max_megapixels: float = 60.0
    backend: str = "auto"
    precision: str | None = None


@dataclass(frozen=True)
class TritonModel:
    """One folder of a model repository.

    Attributes:
        name: of the folder and the model.
        config: of `config.pbtxt`, as :func:`harmonyrt.serving.triton.text.written` takes it.
        engines: whose files the version folder gets.
        below: folder of these files in the version folder; ``""`` for the folder itself.
        files: further files by path in the model's folder.
    """

    name: str
    config: dict[str, Any]
    engines: tuple[EngineSpec, ...]
    below: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


def harmonizing_model(name: str, bundle: Bundle, placing: Placing) -> TritonModel:
    """The model that takes a composite and a mask of any size.

    Args:
        name: of the bundle.
        bundle: an open one.
        placing: see there.
    """
    manifest = bundle.manifest
    height, width = manifest.size or (manifest.working_size, manifest.working_size)
    composite, mask = _warmup_pair(height, width)
    parameters = {"backend": placing.backend, "max_megapixels": f"{placing.max_megapixels:g}"}
    if placing.threads is not None:
        parameters["threads"] = str(placing.threads)
    if placing.precision is not None:
        parameters["precision"] = placing.precision
    pictures = {"composite": [-1, -1, 3], "mask": [-1, -1]}
    config = {
        "name": name + HARMONIZE,
        "backend": "python",
        "max_batch_size": 0,  # pictures differ in size
        "input": [_tensor(tensor, "TYPE_UINT8", dims) for tensor, dims in pictures.items()],
        "output": [_tensor("harmonized", "TYPE_UINT8", pictures["composite"])],
        "instance_group": [_group(placing, on_gpu(manifest, placing))],
        "parameters": _map({key: {"string_value": value} for key, value in parameters.items()}),
        "model_warmup": [
            _warmup(
                {
                    tensor: _tensor_of_warmup("TYPE_UINT8", [height, width, *dims[2:]], {"input_data_file": tensor})
                    for tensor, dims in pictures.items()
                }
            )
        ],
    }
    files = {"warmup/composite": composite.tobytes(), "warmup/mask": mask.tobytes()}
    files[f"{VERSION}/model.py"] = MODEL_PY.encode()
    return TritonModel(name + HARMONIZE, config, manifest.engines, BUNDLE, files)


def engine_models(name: str, bundle: Bundle, targets: tuple[str, ...], placing: Placing) -> Iterator[TritonModel | str]:
    """The engines of a bundle as models of Triton's own backends.

    Args:
        name: of the bundle.
        bundle: an open one.
        targets: of :data:`TARGETS`, which are wanted.
        placing: see there.

    Yields:
        Models, and a sentence for each engine that is left out, or that computes otherwise there than here.
    """
    manifest = bundle.manifest
    if manifest.model.family != "phnet":
        yield f"{name} has several networks and a loop around them: only {name}{HARMONIZE} is written"
        return
    taken: set[str] = set()
    for engine in manifest.engines:
        if placing.precision not in (None, FASTEST, engine.precision):
            continue
        if engine.target not in targets:
            if engine.target == "tensorrt-rtx" and "tensorrt" in targets:
                yield f"{name}: Triton has no backend for tensorrt-rtx engines; {name}{HARMONIZE} runs them"
            continue
        if engine.target == "onnx" and engine.precision == "bf16" and placing.device != "cuda":
            yield f"{name}: ONNX Runtime has no BF16 kernels for the CPU, so its engine is left out; give --device cuda"
            continue
        apart = [option for need, option in _APART.items() if need in engine.needs]
        if apart:
            yield (
                f"{name}: Triton opens no plan that needs another file, so the tensorrt engine is left out;"
                f" {name}{HARMONIZE} runs it, and a plan built without {apart[0]} runs in Triton"
            )
            continue
        if engine.is_native:
            yield f"{name}: Triton's backends do not load native kernels, so its engine {engine.label} is left out"
            continue
        own = f"{name}-{engine.target}"
        if own in taken:  # one of another precision, or for another GPU
            own = f"{own}-{engine.precision}"
        while own in taken:
            own += "-2"
        taken.add(own)
        yield _engine_model(own, manifest, engine, placing)
        if engine.needs.get("version_compatible") == "true":
            yield f"{own} opens in tritonserver --backend-config=tensorrt,version-compatible=true alone"
        if engine.target == "openvino" and engine.precision != "bf16":
            yield (
                f"{own}: Triton's OpenVINO backend cannot be told to stay in {engine.precision}: on CPUs that compute"
                f" BF16 it does so; {name}{HARMONIZE} keeps to {engine.precision}"
            )


def _engine_model(name: str, manifest: Manifest, engine: EngineSpec, placing: Placing) -> TritonModel:
    batches = _batches(manifest, engine)
    warmup = {
        tensor.name: _tensor_of_warmup(_type(tensor), _one(tensor, manifest)[batches > 0 :], {"random_data": True})
        for tensor in manifest.inputs
    }
    gpu = engine.target == "tensorrt" or (engine.target == "onnx" and placing.device == "cuda")
    group = _group(placing, gpu)
    if engine.target == "tensorrt" and manifest.size is None:
        group["profile"] = ["0"]  # one picture of any size; the second one takes batches of small pictures only
    config: dict[str, Any] = {
        "name": name,
        "backend": _BACKEND[engine.target],
        "default_model_filename": PurePosixPath(engine.files[0].path).name,
        "max_batch_size": batches,
        "input": [_tensor(t.name, _type(t), _dims(t, bool(batches))) for t in manifest.inputs],
        "output": [_tensor(t.name, _type(t), _dims(t, bool(batches))) for t in manifest.outputs],
        "instance_group": [group],
    }
    if batches > 1:
        config["dynamic_batching"] = {}
    config["parameters"] = _map({key: {"string_value": value} for key, value in _parameters(engine, placing)})
    config["model_warmup"] = [_warmup(warmup)]
    return TritonModel(name, {key: value for key, value in config.items() if value != []}, (engine,))


def _batches(manifest: Manifest, engine: EngineSpec) -> int:
    """`max_batch_size`: 0 where the engine's own first axis is all there is.

    Triton's OpenVINO backend would fix a model's batch at its largest and pad every call to it.
    """
    if engine.target == "openvino" or any(tensor.shape[0] >= 0 for tensor in (*manifest.inputs, *manifest.outputs)):
        return 0
    return 1 if engine.target == "tensorrt" and manifest.size is None else _LARGEST_BATCH


def _parameters(engine: EngineSpec, placing: Placing) -> Iterator[tuple[str, str]]:
    if engine.target == "onnx" and placing.threads is not None:
        yield "intra_op_thread_count", str(placing.threads)
    if engine.target == "openvino":
        yield "NUM_STREAMS", str(placing.instances)
        if placing.threads is not None:
            yield "INFERENCE_NUM_THREADS", str(placing.threads * placing.instances)
        if engine.precision == "bf16":
            yield "HINT_BF16", "YES"


def on_gpu(manifest: Manifest, placing: Placing) -> bool:
    """Whether the model that harmonizes runs on GPUs: as asked, or where its bundle has engines for nothing else."""
    if placing.device is not None:
        return placing.device == "cuda"
    return all(engine.backend == "tensorrt" for engine in manifest.engines)


def _group(placing: Placing, gpu: bool) -> dict[str, Any]:
    return {"count": placing.instances, "kind": Word("KIND_GPU" if gpu else "KIND_CPU")}


def _tensor(name: str, kind: str, dims: list[int]) -> dict[str, Any]:
    return {"name": name, "data_type": Word(kind), "dims": dims}


def _tensor_of_warmup(kind: str, dims: list[int], data: dict[str, Any]) -> dict[str, Any]:
    return {"data_type": Word(kind), "dims": dims, **data}


def _warmup(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "first", "batch_size": 1, "inputs": _map(inputs)}


def _map(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _type(tensor: TensorSpec) -> str:
    if tensor.dtype not in _TYPES:
        raise HarmonyError(f"the tensor {tensor.name} is of {tensor.dtype}; Triton takes {', '.join(_TYPES)}")
    return _TYPES[tensor.dtype]


def _one(tensor: TensorSpec, manifest: Manifest) -> list[int]:
    """Shape of a tensor for one picture, at the size that pictures are fitted to."""
    first, *sides = tensor.shape
    return [max(first, 1), *(manifest.working_size if side < 0 else side for side in sides)]


def _dims(tensor: TensorSpec, batched: bool) -> list[int]:
    return list(tensor.shape[1:] if batched else tensor.shape)


def _warmup_pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A gradient with a square foreground. A mask of zeros would not reach the engine; one of noise is warned about."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    red, green = rows * 255 / height, columns * 255 / width
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = 255
    return np.stack([red, green, (red + green) / 2], -1).astype(np.uint8), mask


def is_plain_name(name: str) -> bool:
    """Whether a name may be a model's: printable ASCII without blanks, as addresses and file names have it."""
    return bool(name) and name.isascii() and name.isprintable() and not set(name) & set(' /\\"?#%') and name[0] != "."


def files_of(model: TritonModel) -> Iterator[tuple[str, str]]:
    """Paths of a model's engine files: in the bundle, and in the model's folder.

    A single engine's lie at the top there, where the bundle has a folder for each precision.
    """
    for engine in model.engines:
        folder = PurePosixPath("" if model.below else engine.files[0].path).parent
        for file in engine.files:
            yield file.path, str(PurePosixPath(VERSION, model.below, PurePosixPath(file.path).relative_to(folder)))
