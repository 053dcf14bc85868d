"""Options that several verbs have, with one name, one help and one range for all of them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Existing(str, Enum):
    """What to do when an output already exists."""

    replace = "replace"  # type: ignore[assignment]  # the option's value; nobody calls str.replace on it
    skip = "skip"
    refuse = "refuse"


class Keep(str, Enum):
    """What of the composite's foreground stays."""

    luminance = "luminance"
    hue = "hue"


class ExecutionProvider(str, Enum):
    """What of ONNX Runtime computes on an NVIDIA GPU."""

    cuda = "cuda"
    tensorrt = "tensorrt"


class Format(str, Enum):
    """Formats of outputs, by suffix."""

    png = "png"
    jpg = "jpg"
    tif = "tif"
    webp = "webp"
    bmp = "bmp"


BundleToRun = Annotated[
    Path | None, typer.Option("--bundle", "-b", help="Bundle that build wrote. Default: the best one in ./engines.")
]
Strength = Annotated[
    float, typer.Option("--strength", help="How much of the change, 0 (none) to 1.5; 1 is the network's answer.")
]
KeepPart = Annotated[
    Keep | None,
    typer.Option("--keep", help="Keep the foreground's luminance, or its hue; change only the other."),
]
FitMask = Annotated[bool, typer.Option("--fit-mask", help="Resize a mask of another size.")]
InvertMask = Annotated[bool, typer.Option("--invert-mask", help="The mask is white on the background.")]
Label = Annotated[
    list[int] | None,
    typer.Option("--label", help="Of a mask that holds labels: which one is the foreground. May be repeated."),
]
Backend = Annotated[str, typer.Option(help="auto, tensorrt, onnxruntime or openvino.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N. Default: the backend's choice.")]
Target = Annotated[
    str | None, typer.Option(help="Which of the bundle's engines: onnx, openvino, tensorrt, tensorrt-rtx.")
]
Precision = Annotated[
    str | None,
    typer.Option(help="Of a bundle with several: fp32, fp16, bf16, int8, or fastest. Default: the fastest but int8."),
]
Provider = Annotated[
    ExecutionProvider | None,
    typer.Option(help="Of --backend onnxruntime with --device cuda. Default: cuda."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="DiffHarmony: which noise. Default: 0.")]
Sample = Annotated[int | None, typer.Option(min=0, help="DiffHarmony: which variation. Default: 0.")]
Steps = Annotated[int | None, typer.Option(min=1, help="DiffHarmony: steps. Default: the bundle's.")]
MaxMegapixels = Annotated[float, typer.Option(min=0.000001, help="Refuse larger pictures.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")]


def diffusion_options(seed: int | None, sample: int | None, steps: int | None) -> dict[str, int]:
    """What was given of DiffHarmony's options, as :class:`harmonyrt.runtime.diffusion.RunOptions` takes it."""
    given = {"seed": seed, "sample": sample, "steps": steps}
    return {name: value for name, value in given.items() if value is not None}


def named(provider: ExecutionProvider | None) -> str | None:
    """A provider as the runtime takes it."""
    return None if provider is None else provider.value
