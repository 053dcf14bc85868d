"""PHNet (PyTorch) -> one ONNX graph per size: one trace with symbolic sizes, pinned, folded, rewritten and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harmonyrt.export import rewrites as rewriting
from harmonyrt.export.build.recipe import LARGEST_SIDE, SIZE_MULTIPLE
from harmonyrt.export.build.tracing import tidy, traced
from harmonyrt.export.targets import Size

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from harmonyrt.models import PHNet


def trace(network: PHNet) -> ir.Model:
    """Trace a network once, for every size and batch; :func:`export_phnet` makes graphs of one size of it.

    Args:
        network: in eval mode, float32, on the CPU.

    Returns:
        A graph with the inputs ``image`` (batch,3,height,width) and ``mask`` (batch,1,height,width) and one ``output``;
        nodes and values are named by module: ``normalizers.0/ReduceSum_2``.
    """
    import torch
    from torch.export import Dim

    inputs = {"image": torch.zeros(2, 3, 128, 136), "mask": torch.zeros(2, 1, 128, 136)}
    most = LARGEST_SIDE // SIZE_MULTIPLE
    height, width = (SIZE_MULTIPLE * Dim(axis, min=2, max=most) for axis in ("rows_of_8", "columns_of_8"))
    axes = {0: Dim("batch", min=1, max=4096), 2: height, 3: width}
    model = traced(network, inputs, ["output"], (axes, axes))
    _set_shapes(model, ("batch", None, "height", "width"))
    return model


def _set_shapes(model: ir.Model, shape: tuple[int | str | None, ...]) -> None:
    """Give inputs and output their shape (None: keep the channels); inner shapes are inferred again when folding."""
    import onnx_ir as ir

    graph = model.graph
    for value in (*graph.inputs, *graph.outputs):
        channels = 1 if value.name == "mask" else 3
        value.shape = ir.Shape([channels if axis is None else axis for axis in shape])
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def export_phnet(
    trace: ir.Model, size: Size, rewrites: Sequence[str] = rewriting.DEFAULT, batch: int = 1
) -> onnx.ModelProto:
    """The FP32 graph of one engine.

    Args:
        trace: what :func:`trace` returned.
        size: [height, width] for a static graph, or None for any multiple of 8 and any batch.
        rewrites: names from :data:`harmonyrt.export.rewrites.REWRITES`; order does not matter, and those that
            the size or the batch does not allow are left out.
        batch: pictures per call of a static graph.

    Returns:
        A checked model, opset 18, without Loop, Scatter or a Slice per patch.
    """
    import onnx
    import onnx_ir as ir

    model = trace.clone()
    if size is not None:
        _set_shapes(model, (batch, None, *size))
    tidy(model)
    for name in rewriting.fitting(rewrites, size if batch == 1 else None, target=None):
        rewriting.REWRITES[name].apply(model)
        tidy(model)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto
