"""The parts of the first hour, in order of worth, and how long each may take.

The GPU may be gone before the hour is over. So what nothing else can tell comes first: engines that passed their gates,
whole pictures on the device, the latencies. Then what confirms it: tests, gates in fresh processes, the soak, and
NVIDIA's tools.
"""

from __future__ import annotations

from dataclasses import dataclass

from harmonyrt.common import HarmonyError

HOUR_SECONDS = 50 * 60
"""All parts together stay below this."""
LONGEST_PART = 9 * 60
"""Machines that are lent by the command often end one after ten minutes."""


@dataclass(frozen=True)
class Part:
    """A part of the hour.

    Attributes:
        number: from 1.
        name: for `--part` and files.
        title: for people.
        seconds: after which its process is ended.
        module: of this package; its `run(hour)` does the work.
        shows: what one knows afterwards.
        with_tests: whether it depends on the tests of the checkout.
        tools: programs whose absence or presence is part of its inputs.
    """

    number: int
    name: str
    title: str
    seconds: int
    module: str
    shows: str
    with_tests: bool = False
    tools: tuple[str, ...] = ()


_TABLE = (
    ("doctor", "What is here", 60, "machine", "GPU, driver, packages, and what they can run"),
    ("build", "Builds", 480, "builds", "PHNet's engines for every target, each past its gate"),
    ("kernels", "Kernels against the host", 180, "kernels", "our CUDA kernels compile here and equal the CPU's path"),
    ("phnet-suite", "PHNet, measured", 480, "phnet", "latency, end to end, roofline, next to PyTorch"),
    ("providers", "ONNX Runtime, measured", 150, "providers", "its CUDA and TensorRT providers: answers, times, cache"),
    ("diffharmony-build", "DiffHarmony, built", 510, "diffusion_build", "the full-size engines past their gates"),
    ("diffharmony-suite", "DiffHarmony, measured", 240, "diffusion", "512 px, five steps, next to diffusers"),
    ("gpu-tests", "GPU tests", 210, "testing", "the tests that need a GPU: streams, recordings, memory"),
    ("gates", "Gates again", 150, "gates", "every engine, opened in a fresh process, against PyTorch in FP32"),
    ("soak", "Soak", 240, "soak", "20,000 calls: same answers, no growth of memory"),
    ("sanitizer", "compute-sanitizer", 180, "sanitizer", "no invalid accesses, races or leaks on the device"),
    ("nsight", "Nsight summaries", 120, "nsight", "which kernels the time goes to"),
)
_TOOLS = {"sanitizer": ("compute-sanitizer",), "nsight": ("nsys", "ncu")}
PARTS = tuple(
    Part(number, name, title, seconds, module, shows, name in ("gpu-tests", "kernels"), _TOOLS.get(name, ()))
    for number, (name, title, seconds, module, shows) in enumerate(_TABLE, 1)
)


def chosen(wanted: list[str]) -> list[Part]:
    """Parts by number or name, in their order; all of them where none is named.

    Raises:
        HarmonyError: there is no such part.
    """
    by_name = {key: part for part in PARTS for key in (part.name, str(part.number))}
    unknown = [text for text in wanted if text not in by_name]
    if unknown:
        names = ", ".join(f"{part.number} {part.name}" for part in PARTS)
        raise HarmonyError(f"there is no part {unknown[0]}; the parts are {names}")
    found = {by_name[text] for text in wanted} or set(PARTS)
    return [part for part in PARTS if part in found]
