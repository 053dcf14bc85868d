"""PHNet (PyTorch) -> one ONNX graph per size: one trace with symbolic sizes, pinned, folded, rewritten and named.

The PyTorch exporter runs with ``optimize=False``: its optimiser deletes additions of 1e-8 (found in torch 2.13), and
a patch without variance then gives 0/0. Constants are folded here instead, which changes no value.
"""

from __future__ import annotations

import ast
import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harmonyrt.export import rewrites as rewriting
from harmonyrt.export.build.recipe import LARGEST_SIDE, SIZE_MULTIPLE
from harmonyrt.export.targets import Size

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from harmonyrt.models import PHNet

OPSET = 18
_FOLDABLE_BYTES = 1 << 28


def trace(network: PHNet) -> ir.Model:
    """Trace a network once, for every size and batch; :func:`pin_size` makes static graphs of it.

    Args:
        network: in eval mode, float32, on the CPU.

    Returns:
        A graph with the inputs ``image`` (batch,3,height,width) and ``mask`` (batch,1,height,width) and one ``output``;
        nodes and values are named by module: ``normalizers.0/ReduceSum_2``.
    """
    import torch
    from torch.export import Dim

    image, mask = torch.zeros(2, 3, 128, 136), torch.zeros(2, 1, 128, 136)
    most = LARGEST_SIDE // SIZE_MULTIPLE
    height, width = (SIZE_MULTIPLE * Dim(axis, min=2, max=most) for axis in ("rows_of_8", "columns_of_8"))
    axes = {0: Dim("batch", min=1, max=4096), 2: height, 3: width}
    with quiet_exporter():
        program = torch.onnx.export(
            network,
            (image, mask),
            dynamo=True,
            optimize=False,
            opset_version=OPSET,
            input_names=["image", "mask"],
            output_names=["output"],
            dynamic_shapes=(axes, axes),
            verbose=False,
        )
    model = program.model
    model.producer_name, model.producer_version = "harmonyrt", ""
    name_by_module(model.graph)
    _set_shapes(model, ("batch", None, "height", "width"))
    return model


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporter warns of absent packages and of axis names, neither of which concerns the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def name_by_module(graph: ir.Graph) -> None:
    """Readable names from the exporter's scopes; its stack traces, which name this machine's folders, are dropped."""
    count: Counter[str] = Counter()
    for node in graph:
        scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "['', '']"))
        module = "size" if scopes[0].startswith("_empty") else scopes[-2] if len(scopes) > 1 else ""
        base = f"{module}/{node.op_type}".lstrip("/")
        count[base] += 1
        node.name = base if count[base] == 1 else f"{base}_{count[base]}"
        node.metadata_props.clear()
        for i, output in enumerate(node.outputs):
            output.metadata_props.clear()
            if not output.is_graph_output():
                output.name = node.name if i == 0 else f"{node.name}:{i}"
    for value in (*graph.initializers.values(), *graph.inputs, *graph.outputs):
        value.metadata_props.clear()


def _set_shapes(model: ir.Model, shape: tuple[int | str | None, ...]) -> None:
    """Give inputs and output their shape (None: keep the channels); inner shapes are inferred anew when folding."""
    import onnx_ir as ir

    graph = model.graph
    for value in (*graph.inputs, *graph.outputs):
        channels = 1 if value.name == "mask" else 3
        value.shape = ir.Shape([channels if axis is None else axis for axis in shape])
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def pin_size(traced: ir.Model, size: Size, batch: int = 1) -> ir.Model:
    """Copy a traced graph for one size and batch (or any of both), with everything constant folded."""
    import onnx_ir as ir

    model = ir.from_proto(ir.to_proto(traced))
    if size is not None:
        _set_shapes(model, (batch, None, *size))
    tidy(model)
    return model


def tidy(model: ir.Model) -> None:
    """Fold constants, merge equal computations, drop what is unused. Values stay the same to the last bit."""
    import onnx_ir.passes.common as passes
    from onnxscript import optimizer

    from harmonyrt.export.rewrites.graph_tools import AT_LOAD

    optimizer.fold_constants(
        model,
        onnx_shape_inference=True,
        input_size_limit=_FOLDABLE_BYTES,
        output_size_limit=_FOLDABLE_BYTES,
        should_fold=lambda node: False if node.name and node.name.endswith(AT_LOAD) else None,
    )
    for step in (
        passes.RemoveUnusedNodesPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.CommonSubexpressionEliminationPass(),
        passes.DeduplicateInitializersPass(),
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedOpsetsPass(),
        passes.TopologicalSortPass(),
        passes.NameFixPass(),
    ):
        step(model)


def export_phnet(
    traced: ir.Model, size: Size, rewrites: Sequence[str] = rewriting.DEFAULT, batch: int = 1
) -> onnx.ModelProto:
    """The FP32 graph of one engine.

    Args:
        traced: what :func:`trace` returned.
        size: [height, width] for a static graph, or None for any multiple of 8 and any batch.
        rewrites: names from :data:`harmonyrt.export.rewrites.REWRITES`; order does not matter, and those that
            the size or the batch does not allow are left out.
        batch: pictures per call of a static graph.

    Returns:
        A checked model, opset 18, without Loop, Scatter or a Slice per patch.
    """
    import onnx
    import onnx_ir as ir

    model = pin_size(traced, size, batch)
    for name in rewriting.fitting(rewrites, size if batch == 1 else None):
        rewriting.REWRITES[name].apply(model)
        tidy(model)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto
