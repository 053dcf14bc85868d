"""Stand-ins for a dry run: a tiny network, a simulated GPU, and programs that only look like NVIDIA's.

They exist so that every line of the parts runs before a GPU is at hand. What they time is thrown away (`records`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from harmonyrt.benchmarks.gpu_hour.hour import ROOT, Hour, NotHere

SIDE = 64
CALLS = 24
BUNDLE = (str(SIDE), "fp32", "onnx")
"""Size, precision and target of the one bundle that a dry run builds."""


def tiny_network() -> Any:
    """A PHNet of 40 thousand parameters with random weights."""
    import torch

    from harmonyrt.models import PHNet, PHNetConfig

    torch.manual_seed(0)
    return PHNet(PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(4, 3, 2, 1))).eval()


def checkpoint(hour: Hour) -> Path | None:
    """Its weights as a file; None outside a dry run, which means the shipped ones."""
    if not hour.dry:
        return None
    from safetensors.torch import save_file

    path = hour.output / "dry-tiny.safetensors"
    if not path.exists():
        state = tiny_network().state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def fakes(name: str) -> ModuleType:
    """A module of the tests' stand-ins.

    Raises:
        NotHere: this is no checkout.
    """
    import importlib

    folder = ROOT / "tests"
    if not (folder / "fakes" / f"{name}.py").is_file():
        raise NotHere("a dry run needs tests/fakes of the checkout: run it from a clone")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(f"fakes.{name}")


def program(hour: Hour, name: str) -> list[str] | None:
    """The stand-in of one of NVIDIA's programs; None outside a dry run."""
    if not hour.dry:
        return None
    fakes("gpu_tools")
    return [sys.executable, str(ROOT / "tests" / "fakes" / "gpu_tools.py"), name]


def simulate_suite(runners: Any) -> None:
    """Let the GPU suite measure a tiny network on a simulated GPU: its numbers mean nothing."""
    import dataclasses

    import torch

    from harmonyrt.runtime.backends import cuda

    simulation = fakes("cuda_engines")
    device = fakes("cuda").SimulatedCuda()
    network = runners.Network(tiny_network(), {"weights": "tiny, random: dry run"})

    def compute(feeds: dict[str, Any]) -> dict[str, Any]:
        with torch.inference_mode():
            return {"output": network.module(*(torch.from_numpy(feeds[name]) for name in ("image", "mask"))).numpy()}

    def engines(net: Any, target: str, precision: str, size: int, batch: int) -> list[Any]:
        import numpy as np

        shapes = {name: ((batch, channels, size, size), np.float32) for name, channels in (("image", 3), ("mask", 1))}
        engine = simulation.SimulatedEngine(device, shapes, {"output": shapes["image"]}, compute)
        about = {"target": target, "precision": precision, "file": "simulated", "dry": True}
        return [runners.Engine(about, simulation.open_session(engine, target), net, precision, size, batch)]

    cuda.open_cuda = lambda: device  # type: ignore[assignment]
    runners.engines, runners.load_network = engines, lambda path: dataclasses.replace(network)
    runners.SECONDS = runners.BURN_IN = 0.0
    runners.SAMPLES = 10
