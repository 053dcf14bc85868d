"""PyTorch module -> ONNX graph, for every family: traced, named by module, constants folded.

The PyTorch exporter runs with ``optimize=False``: its optimiser deletes additions of 1e-8 (found in torch 2.13), and
a patch without variance then gives 0/0. Constants are folded here instead, which changes no value.
"""

from __future__ import annotations

import ast
import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch import Tensor, nn

OPSET = 18
_FOLDABLE_BYTES = 1 << 28


def traced(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], dynamic_shapes: Any = None
) -> ir.Model:
    """Trace a module; nodes and values are named by module: ``normalizers.0/ReduceSum_2``.

    Args:
        module: in eval mode, float32, on the CPU.
        inputs: an example of each, by name.
        outputs: names.
        dynamic_shapes: as `torch.onnx.export` has it; None: those of the example.
    """
    import torch

    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            optimize=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic_shapes,
            verbose=False,
        )
    assert program is not None  # only the old exporter returns nothing
    model = program.model
    model.producer_name, model.producer_version = "harmonyrt", ""
    _name_by_module(model.graph)
    return model


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
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


def _name_by_module(graph: ir.Graph) -> None:
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
