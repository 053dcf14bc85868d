"""The network that the GPU suite measures: its graphs, reference outputs and inputs."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "weights" / "phnet-10m-residual.safetensors"


@dataclasses.dataclass(eq=False)
class Network:
    """A PHNet and the graphs that were made of it.

    Attributes:
        module: FP32, eval mode, on the CPU.
        about: for the report.
    """

    module: Any
    about: dict[str, Any]
    folder: tempfile.TemporaryDirectory = dataclasses.field(default_factory=tempfile.TemporaryDirectory)

    @functools.cached_property
    def traced(self) -> Any:
        """The traced network, for every size."""
        from harmonyrt.export.phnet.to_onnx import trace

        return trace(self.module)

    @functools.lru_cache(maxsize=4)  # noqa: B019  (one network lives as long as the process)
    def graph(self, precision: str, size: int, batch: int, target: str) -> Any:
        """Typed graph of one size and batch, as `target` gets it from the build."""
        import onnx_ir as ir

        from harmonyrt.export import rewrites
        from harmonyrt.export.phnet.to_onnx import export_phnet
        from harmonyrt.export.precision import typed_graph

        names = rewrites.fitting(rewrites.LOW_MEMORY, (size, size), target, precision)  # Winograd is for CPUs
        graph = ir.from_proto(export_phnet(self.traced, (size, size), names, batch))
        return typed_graph(graph, precision) if precision in ("fp16", "bf16") else graph

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def references(self, size: int) -> list[Any]:
        """Real composites and what the module makes of them in FP32 (TF32 off), on the GPU where there is one."""
        import torch

        from harmonyrt.export.phnet.session import references

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        device = "cuda" if torch.cuda.is_available() else "cpu"
        module = self.module.to(device)
        try:
            return references(lambda image, mask: module(image.to(device), mask.to(device)).cpu(), (size, size))
        finally:
            self.module.to("cpu")


def load_network(checkpoint: str | None) -> Network:
    """The network to measure: a checkpoint, the shipped weights, or 39.9 M random ones."""
    from harmonyrt.models import PHNet, load_phnet

    if checkpoint == "random-39.9m":
        import torch

        torch.manual_seed(0)
        module = PHNet().eval()
        name = "39.9 M configuration, random weights: parity says nothing of a trained network"
    else:
        path = Path(checkpoint) if checkpoint else SHIPPED
        module, name = load_phnet(path), path.name
    return Network(module, {"weights": name, "parameters": sum(p.numel() for p in module.parameters())})


def feeds(size: int, batch: int) -> dict[str, np.ndarray]:
    """Real composites of one size as one batch, as the engines take them."""
    from harmonyrt.export.build.composites import composites

    found = list(composites((size, size), batch))
    return {
        "image": np.ascontiguousarray(np.concatenate([c.image for c in found])),
        "mask": np.ascontiguousarray(np.concatenate([c.mask for c in found])),
    }
