"""The peers: how each library opens its own file and runs it. Loaded in the peer's own process and environment."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError

Call = Callable[[], np.ndarray]
INPUTS, OUTPUT = ("image", "mask"), "output"


@dataclass(frozen=True)
class Peer:
    """One library with one choice of settings.

    Attributes:
        library: its import name, or that of its package.
        package: what provides it.
        variant: the settings in words, for tables.
        precision: what it computes in; None where the library chooses, and is asked.
        file: what :mod:`.convert` leaves for it, in the folder of converted networks.
        apart: whether it lives in the environment of peers; the others are libraries that our engines run on too.
    """

    library: str
    package: str
    variant: str
    precision: str | None
    file: str
    apart: bool = False

    @property
    def name(self) -> str:
        """For a case's `mode`."""
        return f"{self.library} {self.variant}"


PEERS = (
    Peer("onnxruntime", "onnxruntime", "plain", "fp32", "model.onnx"),
    Peer("openvino", "openvino", "plain FP32, its thread pinning", "fp32", "model.onnx"),
    Peer("openvino", "openvino", "plain FP32, no pinning", "fp32", "model.onnx"),
    Peer("openvino", "openvino", "plain, its precision, no pinning", None, "model.onnx"),
    Peer("ncnn", "ncnn", "FP32", "fp32", "model.ncnn.param", apart=True),
    Peer("ncnn", "ncnn", "BF16 storage", "bf16", "model.ncnn.param", apart=True),
    Peer("MNN", "MNN", "precision high", "fp32", "model.mnn", apart=True),
    Peer("litert", "ai-edge-litert", "XNNPACK", "fp32", "model.tflite", apart=True),
)


def open_peer(
    name: str, path: str, threads: int, image: np.ndarray, mask: np.ndarray
) -> tuple[Call, np.ndarray, dict[str, str]]:
    """Open a peer's file in this process.

    Args:
        name: of one of :data:`PEERS`.
        path: what was converted for it.
        threads: that it may use.
        image: (1,3,H,W) float32 in [0, 1].
        mask: (1,1,H,W) float32.

    Returns:
        What runs the network on these inputs, its first answer, and what was opened.

    Raises:
        HarmonyError: the peer is not known or not installed, or it does not open or run the network.
    """
    peer = next((peer for peer in PEERS if peer.name == name), None)
    if peer is None:
        raise HarmonyError(f"peer {name!r} is not known; give one of {', '.join(p.name for p in PEERS)}")
    if not Path(path).is_file():
        raise HarmonyError(f"{path} does not exist; convert the network for {peer.library} first")
    try:
        call, precision = _OPENERS[peer.library](peer, path, threads, image, mask)
        version = importlib.metadata.version(peer.package)
        first = call()
    except Exception as error:  # each library has its own types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise HarmonyError(f"{peer.library} does not run {Path(path).name}: {reason}") from None
    if first.shape != image.shape:
        raise HarmonyError(f"{peer.library} answers with shape {first.shape}, not {image.shape}")
    about = {"backend": peer.library, "device": "cpu", "target": peer.variant}
    return call, first, {**about, "precision": precision, "version": version}


def _onnxruntime(peer: Peer, path: str, threads: int, image: np.ndarray, mask: np.ndarray) -> tuple[Call, str]:
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = dict(zip(INPUTS, (image, mask), strict=True))
    return lambda: session.run([OUTPUT], feeds)[0], "fp32"


def _openvino(peer: Peer, path: str, threads: int, image: np.ndarray, mask: np.ndarray) -> tuple[Call, str]:
    openvino = importlib.import_module("openvino")
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    if peer.precision == "fp32":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    if "no pinning" in peer.variant:
        settings["ENABLE_CPU_PINNING"] = False
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    chosen = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    request = compiled.create_infer_request()
    feeds = dict(zip(INPUTS, (image, mask), strict=True))
    precision = {"f32": "fp32", "f16": "fp16"}.get(chosen, chosen)
    return lambda: request.infer(feeds, share_inputs=True, share_outputs=True)[OUTPUT], precision


def _ncnn(peer: Peer, path: str, threads: int, image: np.ndarray, mask: np.ndarray) -> tuple[Call, str]:
    ncnn = importlib.import_module("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.use_bf16_storage = peer.precision == "bf16"
    if peer.precision == "fp32":
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(path) != 0 or net.load_model(str(Path(path).with_suffix(".bin"))) != 0:
        raise HarmonyError("its param or bin file is not read")
    picture, where = ncnn.Mat(image[0]).clone(), ncnn.Mat(mask[0]).clone()

    def call() -> np.ndarray:
        with net.create_extractor() as extractor:
            extractor.input("in0", picture)
            extractor.input("in1", where)
            status, output = extractor.extract("out0")
            if status != 0:
                raise HarmonyError(f"extract returns {status}")
            return np.array(output)[None]

    return call, str(peer.precision)


def _mnn(peer: Peer, path: str, threads: int, image: np.ndarray, mask: np.ndarray) -> tuple[Call, str]:
    mnn = importlib.import_module("MNN")
    precision = peer.variant.rpartition(" ")[2]
    config = {"backend": "CPU", "precision": precision, "numThread": threads}
    manager = mnn.nn.create_runtime_manager((config,))
    names = [*INPUTS], [OUTPUT]
    net = mnn.nn.load_module_from_file(path, *names, runtime_manager=manager)
    expr, feeds = mnn.expr, []
    for array in (image, mask):
        variable = expr.placeholder(list(array.shape), expr.NCHW, expr.float)
        variable.write(array)
        feeds.append(variable)

    def call() -> np.ndarray:
        (output,) = net.forward(feeds)
        return np.array(expr.convert(output, expr.NCHW).read(), copy=True).reshape(image.shape)

    return call, str(peer.precision)


def _litert(peer: Peer, path: str, threads: int, image: np.ndarray, mask: np.ndarray) -> tuple[Call, str]:
    interpreters = importlib.import_module("ai_edge_litert.interpreter")
    interpreter = interpreters.Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    for place in interpreter.get_input_details():
        interpreter.set_tensor(place["index"], image if tuple(place["shape"]) == image.shape else mask)
    (output,) = interpreter.get_output_details()

    def call() -> np.ndarray:
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    return call, "fp32"


_OPENERS: dict[str, Callable[[Peer, str, int, np.ndarray, np.ndarray], tuple[Call, str]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "ncnn": _ncnn,
    "MNN": _mnn,
    "litert": _litert,
}
