"""Exact rewrites of a graph: the same function in fewer or cheaper operations. One pass per file, chosen by name.

Every pass is a function that takes an ``onnx_ir.Model``, changes it in place and returns how many places it changed;
a place that does not match is left as it is, and the log says why. The tests prove each on a tiny graph and on the
golden weights.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harmonyrt.common import HarmonyError

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Rewrite:
    """A named rewrite.

    Attributes:
        name: as given to ``--rewrites``; its file has the same name with underscores.
        about: what it does, in a few words.
        static_only: it needs a graph of one size and batch 1.
        targets: those whose engines can take it; None for all.
        precisions: those in which it makes sense; None for all.
        not_for: pairs of target and precision that cannot have it all the same.
        most_pixels: largest picture; None for any.
        module: its file, where that has another name.
        settings: arguments of the file's ``apply``.
    """

    name: str
    about: str
    static_only: bool = False
    targets: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    not_for: tuple[tuple[str, str], ...] = ()
    most_pixels: int | None = None
    module: str = ""
    settings: Mapping[str, int] = field(default_factory=dict)

    def fits(self, size: tuple[int, int] | None, target: str | None, precision: str) -> bool:
        """Whether an engine of this kind can have it; target None is any target."""
        return (
            not (self.static_only and size is None)
            and (self.most_pixels is None or size is None or size[0] * size[1] <= self.most_pixels)
            and (self.targets is None or target is None or target in self.targets)
            and (self.precisions is None or precision in self.precisions)
            and (target, precision) not in self.not_for
        )

    def apply(self, model: ir.Model) -> int:
        """Rewrite in place; returns the number of places."""
        module = importlib.import_module(f"{__name__}.{self.module or self.name.replace('-', '_')}")
        return module.apply(model, **self.settings)


_TILED_PIXELS = 1024 * 1024
"""Memory for tiles grows with the picture: ONNX Runtime holds 2.2 GB at this size, and four times that at the next."""

REWRITES = {
    rewrite.name: rewrite
    for rewrite in (  # in the order in which they are applied
        Rewrite("drop-dead", "convolution biases that an instance norm cancels"),
        Rewrite("fold-batchnorm", "batch norms into the convolutions before them"),
        Rewrite("flip-transposed", "transposed convolutions of stride 1 as convolutions"),
        Rewrite("share-statistics", "sums over pictures from the sums of their patches", static_only=True),
        Rewrite(
            "split-norms",
            "norms and sums of more than 256 x 256 pixels as products, which OpenVINO needs to be exact",
            static_only=True,
            targets=("onnx", "openvino"),
        ),
        Rewrite(
            "gate-fold",
            "the channel gates into the weights of the first skip convolution, which halves it",
            static_only=True,
            targets=("onnx", "openvino"),  # TensorRT takes constant weights only
            precisions=("fp32", "fp16", "bf16"),  # computed weights have no calibrated range
        ),
        Rewrite(
            "fused-convolutions",
            "convolutions as the operator of runtime/native, which keeps Winograd's tiles in the cache",
            static_only=True,
            targets=("onnx", "openvino"),
            precisions=("fp32", "bf16"),
            not_for=(("onnx", "bf16"),),  # ONNX Runtime has nothing in BF16 that could run around it
            module="native",
        ),
        Rewrite(
            "quantized-convolutions",
            "convolutions as the INT8 operator of runtime/native, which needs no calibration",
            static_only=True,
            targets=("onnx", "openvino"),
            precisions=("int8",),
            module="native_int8",
        ),
        Rewrite(
            "recast-transposed",
            "transposed convolutions of stride 2 as convolutions",
            static_only=True,
            targets=("onnx", "openvino"),  # TensorRT has kernels of its own for them
            precisions=("fp32", "bf16"),
            most_pixels=_TILED_PIXELS,
        ),
        Rewrite(
            "winograd",
            "convolutions as Winograd F(4x4, 3x3) and F(4x4, 2x2)",
            static_only=True,
            targets=("onnx", "openvino"),
            precisions=("fp32", "bf16"),  # fp16 engines keep their convolutions for the engine's own kernels
            most_pixels=_TILED_PIXELS,
        ),
        Rewrite(
            "winograd-f2",
            "convolutions as Winograd F(2x2, 3x3) and F(2x2, 2x2)",
            static_only=True,
            targets=("onnx", "openvino"),
            precisions=("fp32",),
            most_pixels=_TILED_PIXELS,
            module="winograd",
            settings={"tile": 2},
        ),
    )
}

LOW_MEMORY = (
    "drop-dead", "fold-batchnorm", "flip-transposed", "share-statistics", "split-norms", "gate-fold",
)  # fmt: skip
"""Those that cost nothing, neither memory nor time to load."""

FASTER = ("recast-transposed", "winograd")
"""Those that buy speed with memory and time to load."""

KERNELS = ("fused-convolutions", "quantized-convolutions")
"""Those whose engines need the libraries of runtime/native. They take the place of Winograd as graph operations, and a
plain engine stands by each of theirs."""

SLOWER_THAN_PLAIN = ("gate-fold", *FASTER)
"""Those that slow BF16 down where the CPU convolves fast in BF16: with AMX a plain convolution runs near the rate of
its tiles, and weights that are computed for each picture and Winograd's transforms only add traffic."""

SETS = {
    "fast": LOW_MEMORY + FASTER,
    "low-memory": LOW_MEMORY,
    "native": (*LOW_MEMORY, *KERNELS, *FASTER),
    "none": (),
}
"""Names of sets of rewrites; what an engine cannot take of them is left out."""

DEFAULT = ("fast",)
"""What an engine gets when nobody says otherwise; docs/building.md has the measurements behind it."""


def names_of(asked: Sequence[str], without: Collection[str] = ()) -> tuple[str, ...]:
    """Rewrites by name, with the names of :data:`SETS` spelled out.

    Args:
        asked: names of rewrites and of sets.
        without: what ``"fast"`` and ``"native"`` leave out; given by name they stay.

    Raises:
        HarmonyError: a name that is not known.
    """
    for name in asked:
        if name not in REWRITES and name not in SETS:
            raise HarmonyError(f"rewrite {name!r} is not known; choose from {', '.join((*SETS, *REWRITES))}")
    sets: dict[str, tuple[str, ...]] = dict(SETS)
    for name in ("fast", "native"):
        sets[name] = tuple(one for one in sets[name] if one not in without)
    return tuple(dict.fromkeys(name for given in asked for name in sets.get(given, (given,))))


def fitting(
    names: Sequence[str], size: tuple[int, int] | None, target: str | None = "onnx", precision: str = "fp32"
) -> tuple[str, ...]:
    """Those of the names that an engine of this kind can have, in order of application."""
    wanted = names_of(names)
    found = tuple(r.name for r in REWRITES.values() if r.name in wanted and r.fits(size, target, precision))
    if not set(KERNELS) & set(found):
        return found
    return tuple(name for name in found if name not in (*FASTER, "winograd-f2"))


def plain(names: Sequence[str]) -> tuple[str, ...]:
    """The same for the engine that stands by a native one."""
    return tuple(name for name in names_of(names) if name not in KERNELS)
