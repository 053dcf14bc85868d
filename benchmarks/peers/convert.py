"""Conversion of one network for one peer by the peer's own tool; runs in the environment of peers.

python -m harmonyrt.benchmarks.peers.convert ncnn --checkpoint golden.pth --onnx model.onnx --size 256 --output DIR
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.program import run_program

PATIENCE = 900.0
"""Seconds after which a converter is ended."""


def _module(checkpoint: Path, size: int) -> tuple[Any, tuple[Any, Any]]:
    torch = importlib.import_module("torch")
    from harmonyrt.models import load_phnet

    torch.manual_seed(0)
    return load_phnet(checkpoint), (torch.rand(1, 3, size, size), torch.zeros(1, 1, size, size))


def _tool(name: str, *arguments: str, folder: Path) -> None:
    """Run a program that a package of this environment installed.

    Raises:
        WorkFailed: it is missing, fails, or takes too long; with the last line that it wrote.
    """
    program = Path(sysconfig.get_path("scripts")) / name
    try:
        done = subprocess.run(
            [str(program), *arguments], cwd=folder, capture_output=True, text=True, errors="replace", timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkFailed(f"{name} did not convert the network ({error})") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise WorkFailed(f"{name} ended with code {done.returncode}: {said}")


def to_ncnn(checkpoint: Path, onnx: Path, size: int, output: Path) -> None:
    """By pnnx from TorchScript, its first input format; weights stay FP32."""
    torch = importlib.import_module("torch")
    module, examples = _module(checkpoint, size)
    with torch.inference_mode():
        torch.jit.trace(module, examples, check_trace=False).save(str(output / "model.pt"))
    shapes = ",".join(f"[1,{channels},{size},{size}]" for channels in (3, 1))
    _tool("pnnx", "model.pt", f"inputshape={shapes}", "fp16=0", folder=output)

    param = output / "model.ncnn.param"
    if param.is_file():
        param.write_text(without_slices(param.read_text(encoding="utf-8")), encoding="utf-8")


def without_slices(param: str) -> str:
    """ncnn's list of layers with the masks' halvings in an operation that ncnn has.

    PHNet takes every second row and column of its mask. pnnx leaves this as `Tensor.slice`, which ncnn does not know;
    nearest scaling by a half (`Interp` with resize type 1) takes the same pixels.
    """

    def line(text: str) -> str:
        kind, *rest = text.split()[:6] or [""]
        return f"Interp {' '.join(rest)} 0=1 1=0.5 2=0.5" if kind == "Tensor.slice" else text

    return "\n".join(map(line, param.splitlines())) + "\n"


def to_mnn(checkpoint: Path, onnx: Path, size: int, output: Path) -> None:
    """By MNN's converter from the plain ONNX."""
    target = str(output / "model.mnn")
    _tool(
        "mnnconvert", "-f", "ONNX", "--modelFile", str(onnx), "--MNNModel", target, "--bizCode", "phnet", folder=output
    )


def to_litert(checkpoint: Path, onnx: Path, size: int, output: Path) -> None:
    """By litert-torch from the PyTorch module."""
    litert = importlib.import_module("litert_torch")
    module, examples = _module(checkpoint, size)
    litert.convert(module, examples).export(str(output / "model.tflite"))


CONVERTERS: dict[str, tuple[Callable[[Path, Path, int, Path], None], str]] = {
    "ncnn": (to_ncnn, "model.ncnn.param"),
    "MNN": (to_mnn, "model.mnn"),
    "litert": (to_litert, "model.tflite"),
}
"""By library: what converts for it, and the file that must be there afterwards."""


def convert(library: str, checkpoint: Path, onnx: Path, size: int, output: Path) -> None:
    """Convert for one library.

    Raises:
        WorkFailed: its tool cannot; the sentence has the tool's own reason.
    """
    converter, file = CONVERTERS[library]
    try:
        converter(checkpoint, onnx, size, output)
    except HarmonyError:
        raise
    except Exception as error:  # each tool has its own types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WorkFailed(f"the network is not converted for {library}: {reason}") from None
    if not (output / file).is_file():
        raise WorkFailed(f"the converter for {library} left no {file}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("library", choices=CONVERTERS)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(argv)
    paths = given.checkpoint.resolve(), given.onnx.resolve()
    return run_program(lambda: convert(given.library, *paths, given.size, given.output.resolve()))


if __name__ == "__main__":
    sys.exit(main())
