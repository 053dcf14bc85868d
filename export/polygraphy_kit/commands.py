"""The commands of a folder for Polygraphy, as its README has them. Options are those of Polygraphy 0.53."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harmonyrt.export.build.gate import Gate
from harmonyrt.runtime.manifest import Manifest

GATED = "--data-loader-script data_loader.py --load-outputs golden.json --compare-func-script gate.py --validate"
"""Every composite, compared with the module by the gate."""
RTX = "POLYGRAPHY_USE_TENSORRT_RTX=1 "
"""Makes every command of TensorRT one of TensorRT for RTX."""

Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True)
class Kit:
    """What a folder holds.

    Attributes:
        manifest: of the bundle.
        graph: its ONNX engine; None where it has none.
        simulated: the graph that shows a typed graph's rounding on a CPU; None where the graph itself does.
        reference: the FP32 graph; None where the graph is that.
        plans: target and file of each TensorRT engine.
        shapes: smallest, typical and largest shape of each input, for a graph of any size; None for a static one.
    """

    manifest: Manifest
    graph: str | None
    simulated: str | None
    reference: str | None
    plans: tuple[tuple[str, str], ...]
    shapes: Shapes | None


@dataclass(frozen=True)
class Step:
    """One part of the README.

    Attributes:
        title: heading.
        why: what it tells.
        commands: lines for a POSIX shell, run in the folder.
        gpu: needs an NVIDIA GPU.
    """

    title: str
    why: str
    commands: tuple[str, ...]
    gpu: bool = False


def readme(kit: Kit) -> str:
    """The README of a folder."""
    precision = kit.manifest.precision
    parts = [
        f"# {kit.manifest.name} for Polygraphy",
        f"Written by `harmonyrt polygraphy`. The gate of {precision}: `{Gate(precision).sentence}`, against the PyTorch"
        " FP32 module,\nof the picture after blending where it is a PSNR. Run the commands in this folder; they need\n"
        "`pip install polygraphy onnx onnx-graphsurgeon onnxruntime`, and nothing of HarmonyRT.",
        "| file | what it is |\n|---|---|\n" + "\n".join(f"| `{name}` | {what} |" for name, what in _files(kit)),
    ]
    for step in steps(kit):
        need = "Needs an NVIDIA GPU. " if step.gpu else ""
        parts.append(f"## {step.title}\n\n{need}{step.why}\n\n```sh\n" + "\n".join(step.commands) + "\n```")
    return "\n\n".join(parts) + "\n"


def _files(kit: Kit) -> Iterator[tuple[str, str]]:
    if kit.graph is not None:
        yield kit.graph, f"the bundle's ONNX engine, {kit.manifest.precision}"
    if kit.simulated is not None:
        yield kit.simulated, "the same in FP32 arithmetic, rounded where it rounds: what a CPU runs as FP32 otherwise"
    if kit.reference is not None:
        yield kit.reference, "the FP32 graph that it was made from, with the same names of tensors"
    for target, file in kit.plans:
        yield file, f"the bundle's plan for {target}"
    yield "golden.json", "what the PyTorch FP32 module answers, for `--load-outputs`"
    yield "composites.npz, data_loader.py", "the gate's composites, for `--data-loader-script`"
    yield "gate.json, gate.py", "the gate, for `--compare-func-script`"


def steps(kit: Kit) -> Iterator[Step]:
    """Everything that can be run on this folder."""
    if kit.graph is not None:
        yield from _of_the_graph(kit, kit.graph)
    for target, file in kit.plans:
        prefix = RTX if target == "tensorrt-rtx" else ""
        command = f"{prefix}polygraphy run {file} --model-type engine --trt {GATED}"
        yield Step(f"The plan {file} against the gate", "On a GPU that the plan is for.", (command,), gpu=True)


def _of_the_graph(kit: Kit, graph: str) -> Iterator[Step]:
    on_cpu = kit.simulated or graph
    yield Step("Look at the graph", "Inputs, outputs, nodes.", (f"polygraphy inspect model {graph} --show layers",))
    about = "Its parser reads every node; needs TensorRT (the second line: TensorRT for RTX), not a GPU."
    if kit.manifest.precision == "int8":
        about += (
            " TensorRT does not take this graph: its activations are unsigned and its biases quantized, as ONNX Runtime"
            " wants them. Build the bundle with --targets tensorrt for a plan, which this folder then has too."
        )
    commands = (f"polygraphy inspect capability {graph}", f"{RTX}polygraphy inspect capability {graph}")
    yield Step("What TensorRT says to the graph", about, commands)
    yield Step("ONNX Runtime against the gate", "On the CPU.", (f"polygraphy run {on_cpu} --onnxrt {GATED}",))
    if kit.reference is not None:
        yield Step(
            "Which tensor leaves the gate, without a GPU",
            "The outputs of all convolutions, in the order of the graph: the first FAILED is where the precision is"
            " lost. That is no verdict on the bundle, whose picture may pass all the same.",
            (
                f"polygraphy run {kit.reference} --onnxrt {_MARKED} {_ONE} --save-outputs tensors.json",
                f"polygraphy run {on_cpu} --onnxrt {_MARKED} {_ONE} --load-outputs tensors.json {_TENSORS}",
            ),
        )
    if kit.manifest.precision == "int8":
        return
    trt = f"--trt --strongly-typed{_profile(kit.shapes)}"
    yield Step(
        "TensorRT against the gate",
        f"TensorRT 10 or later; for TensorRT for RTX put `{RTX.strip()}` in front. TF32 stays off, as in our builds.",
        (f"polygraphy run {graph} {trt} {GATED} --save-engine polygraphy.engine",),
        gpu=True,
    )
    yield Step(
        "Which tensor leaves the gate on TensorRT",
        "Marked tensors are outputs, and TensorRT does not fuse across those: a fault that goes away is in a fusion.",
        (
            f"polygraphy run {on_cpu} --onnxrt {_MARKED} {_ONE} --save-outputs tensors.json",
            f"polygraphy run {graph} {trt} {_MARKED} {_ONE} --load-outputs tensors.json {_TENSORS}",
        ),
        gpu=True,
    )
    if kit.shapes is not None:
        return  # `debug reduce` wants fixed shapes
    yield Step(
        "The smallest graph that fails on TensorRT",
        "Bisects the graph; every tensor on the way is compared with ONNX Runtime's, and fed from it.",
        reducing(graph, trt),
        gpu=True,
    )


_ONE = "--data-loader-script data_loader.py:load_first"
_MARKED = "--onnx-outputs-by-type Conv ConvTranspose"
_TENSORS = "--compare-func-script gate.py:compare_tensors"


def reducing(graph: str, engine: str, good: str | None = None) -> tuple[str, ...]:
    """The commands of `polygraphy debug reduce`.

    Args:
        graph: that fails.
        engine: Polygraphy's options of the engine in which it fails.
        good: graph whose tensors are right; None: `graph` in ONNX Runtime.
    """
    return (
        f"polygraphy run {good or graph} --onnxrt --onnx-outputs '*' {_ONE} --save-inputs inputs.json"
        " --save-outputs tensors.json",
        "polygraphy data merge inputs.json tensors.json -o all_tensors.json",
        f"polygraphy debug reduce {graph} -o reduced.onnx --mode bisect --load-inputs all_tensors.json"
        f" --check polygraphy run polygraphy_debug.onnx {engine} --load-inputs all_tensors.json"
        f" --load-outputs tensors.json {_TENSORS}",
    )


def _profile(shapes: Shapes | None) -> str:
    if shapes is None:
        return ""
    words = []
    for which, option in enumerate(("--trt-min-shapes", "--trt-opt-shapes", "--trt-max-shapes")):
        values = " ".join(f"'{name}:[{','.join(map(str, shape[which]))}]'" for name, shape in shapes.items())
        words.append(f" {option} {values}")
    return "".join(words)
