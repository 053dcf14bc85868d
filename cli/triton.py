"""`harmonyrt triton`: bundles as a model repository of NVIDIA's Triton Inference Server."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from harmonyrt.cli.options import MaxMegapixels


class Only(str, Enum):
    """Which models of a bundle."""

    harmonize = "harmonize"
    engines = "engines"


class Target(str, Enum):
    """Engines that Triton has a backend for."""

    onnx = "onnx"
    openvino = "openvino"
    tensorrt = "tensorrt"


class Device(str, Enum):
    """Where models run."""

    cpu = "cpu"
    cuda = "cuda"


def triton(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles that build wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model repository; its other models stay.")],
    only: Annotated[
        Only | None,
        typer.Option(
            help="harmonize: the models that take pictures of any size; engines: those that take the engine's tensors."
            " Default: both."
        ),
    ] = None,
    target: Annotated[
        list[Target] | None, typer.Option(help="Engines to write; may be given several times. Default: all.")
    ] = None,
    device: Annotated[
        Device | None, typer.Option(help="Where models run. Default: TensorRT's engines on GPUs, all else on the CPU.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="Of the models that harmonize: auto, tensorrt, onnxruntime or openvino.")
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="Of bundles with several: only engines of fp32, fp16, bf16, int8; or fastest. Default: all."),
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="Instances of each model, per GPU or on the CPU.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of an instance. Default: the cores by instances."),
    ] = None,
    max_megapixels: MaxMegapixels = 60.0,
    force: Annotated[bool, typer.Option("--force", help="Replace models of the same names.")] = False,
) -> None:
    """Write bundles as models of NVIDIA's Triton Inference Server.

    harmonyrt triton engines/phnet-128-fp32 -o model_repository/

    tritonserver --model-repository model_repository/
    """
    from harmonyrt.cli.console import print_path
    from harmonyrt.common.progress import say
    from harmonyrt.common.streams import current as streams
    from harmonyrt.serving.triton.models import TARGETS, Placing
    from harmonyrt.serving.triton.repository import write_repository

    streams().results_are_files()
    notes: list[str] = []
    written = write_repository(
        bundles,
        output,
        Placing(device.value if device else None, instances, threads, max_megapixels, backend, precision),
        targets=[one.value for one in target] if target else TARGETS,
        harmonize=only is not Only.engines,
        engines=only is not Only.harmonize,
        force=force,
        note=notes.append,
    )
    for note in notes:
        say(f"note: {note}")
    for path in written:
        print_path(path)
