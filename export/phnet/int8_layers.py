"""Which convolutions native INT8 engines compute in 8 bits: all, unless the picture says otherwise.

The operator of runtime/native measures its own ranges, so there is nothing to calibrate; but a layer may still be too
coarse in 8 bits. The rule is that of `harmonyrt calibrate`: blended composites within a PSNR of FP32's, and layers go
back to FP32, most noise for the least work first, until all composites hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from harmonyrt.common import WorkFailed
from harmonyrt.common.progress import silent

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_ir as ir

    from harmonyrt.calibration.observe import Feed
    from harmonyrt.export.targets import Progress

LEAST_DB = 46.0
"""As :class:`harmonyrt.calibration.quantize.CalibrationOptions` has it: 8 dB above the acceptance gate."""


def in_native_int8(graph: onnx.ModelProto, in_float: Collection[str] = ()) -> tuple[ir.Model, int]:
    """The graph with its convolutions as INT8 operators, those named in `in_float` as FP32 operators.

    Returns:
        The graph, and how many convolutions are INT8.
    """
    import onnx_ir as ir

    from harmonyrt.export.rewrites import native, native_int8

    model = ir.from_proto(graph)
    places = native_int8.apply(model, in_float)
    if in_float:
        native.apply(model)
    return model, places


def layers_in_float(
    graph: onnx.ModelProto,
    feeds: Sequence[Feed],
    threads: int | None,
    least_db: float = LEAST_DB,
    report: Progress = silent,
) -> tuple[str, ...]:
    """Convolutions that have to stay FP32.

    Args:
        graph: FP32, of one size; names carry over to graphs of the same weights and rewrites at other sizes.
        feeds: composites in that size.
        threads: CPU threads; None for all.
        least_db: of blended pictures against FP32's, worst composite.
        report: told what is going on.

    Returns:
        Names of nodes, most harmful first; mostly none.

    Raises:
        HarmonyError: the native kernels are missing.
        WorkFailed: no layer can be INT8 within `least_db`.
    """
    import onnx
    import onnx_ir as ir

    from harmonyrt.calibration.evaluator import Evaluator
    from harmonyrt.calibration.layers import find_layers
    from harmonyrt.calibration.sensitivity import by_harm

    evaluator = Evaluator(graph, feeds, threads, _runner(threads))

    def quality(in_float: Collection[str], doing: str) -> float:
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            report(doing, done / len(evaluator))

        return evaluator(ir.to_proto(in_native_int8(graph, in_float)[0]), tick).worst_db

    if quality((), "all native layers in INT8") >= least_db:
        return ()
    shaped = onnx.shape_inference.infer_shapes(graph)
    shapes = {
        value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in (*shaped.graph.value_info, *shaped.graph.input, *shaped.graph.output)
    }
    work = {layer.name: layer.multiplications(shapes) for layer in find_layers(graph)}
    alone = {
        name: quality(work.keys() - {name}, f"{name} alone in INT8")
        for name in work
        if in_native_int8(graph, work.keys() - {name})[1]
    }
    order = by_harm(alone, {name: amount / sum(work.values()) for name, amount in work.items()})
    for count in range(1, len(order)):
        if quality(order[:count], f"{len(order) - count} native layers in INT8") >= least_db:
            return tuple(order[:count])
    raise WorkFailed(f"no layer can be INT8 in native kernels within {least_db:g} dB; build fp32, or without native")


def _runner(threads: int | None) -> Callable[[onnx.ModelProto], Callable[[Feed], np.ndarray]]:
    """Opens graphs in the engine whose native kernels this machine has."""
    from harmonyrt.runtime import native

    return _in_openvino(threads) if native.why_not(native.VERSION) is None else _in_onnxruntime(threads)


def _in_openvino(threads: int | None) -> Callable[[onnx.ModelProto], Callable[[Feed], np.ndarray]]:
    from harmonyrt.common.errors import require
    from harmonyrt.runtime import native, openvino_core
    from harmonyrt.runtime.backends.openvino import add_native_kernels
    from harmonyrt.runtime.machine import cores

    core = openvino_core.core(require("openvino", "openvino", "INT8 in native kernels"))
    add_native_kernels({native.NEED: native.VERSION})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads or cores(), "NUM_STREAMS": 1}

    def open_graph(model: onnx.ModelProto) -> Callable[[Feed], np.ndarray]:
        compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
        return lambda feed: compiled(feed)["output"]

    return open_graph


def _in_onnxruntime(threads: int | None) -> Callable[[onnx.ModelProto], Callable[[Feed], np.ndarray]]:
    import onnxruntime

    from harmonyrt.runtime import native
    from harmonyrt.runtime.backends.onnxruntime import add_native_kernels
    from harmonyrt.runtime.machine import cores

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads or cores()
    settings.log_severity_level = 3
    add_native_kernels(settings, {native.NEED: native.VERSION})

    def open_graph(model: onnx.ModelProto) -> Callable[[Feed], np.ndarray]:
        opened = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        return lambda feed: opened.run(["output"], feed)[0]

    return open_graph
