"""One component -> ONNX, static sizes, batch 1."""

from __future__ import annotations

import torch

from harmonyrt.export.diffharmony.components import Component
from harmonyrt.export.phnet.to_onnx import OPSET, name_by_module, quiet_exporter, tidy


def trace(component: Component):
    """Trace a component; constants are folded, nodes are named by module. Returns an onnx_ir Model."""
    example = component.example()
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            component.module,
            tuple(example.values()),
            dynamo=True,
            optimize=False,
            opset_version=OPSET,
            input_names=list(component.inputs),
            output_names=list(component.outputs),
            verbose=False,
        )
    model = program.model
    model.producer_name, model.producer_version = "harmonyrt", ""
    name_by_module(model.graph)
    tidy(model)
    return model
