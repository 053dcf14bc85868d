"""One component -> ONNX, static sizes, batch 1."""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.build.tracing import tidy, traced
from harmonyrt.export.diffharmony.components import Component


def trace(component: Component) -> ir.Model:
    """Trace a component; constants are folded, nodes are named by module."""
    model = traced(component.module, component.example(), component.outputs)
    tidy(model)
    return model
