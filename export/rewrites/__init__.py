"""Exact rewrites of a graph: the same function in fewer or cheaper operations. One pass per file, chosen by name.

Every pass is a function that takes an ``onnx_ir.Model``, changes it in place and returns how many places it changed;
a place that does not match is left as it is. The tests prove each on a tiny graph and on the golden weights.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
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
    """

    name: str
    about: str
    static_only: bool = False

    def apply(self, model: ir.Model) -> int:
        """Rewrite in place; returns the number of places."""
        module = importlib.import_module(f"{__name__}.{self.name.replace('-', '_')}")
        return module.apply(model)


REWRITES = {
    rewrite.name: rewrite
    for rewrite in (  # in the order in which they are applied
        Rewrite("drop-dead", "convolution biases that an instance norm cancels"),
        Rewrite("fold-batchnorm", "batch norms into the convolutions before them"),
        Rewrite("flip-transposed", "transposed convolutions of stride 1 as convolutions"),
    )
}

DEFAULT = ("drop-dead", "fold-batchnorm", "flip-transposed")
"""Those that never cost anything."""


def selected(names: Sequence[str], size: tuple[int, int] | None) -> list[Rewrite]:
    """The rewrites of these names in order of application, without those that a dynamic graph cannot take.

    Raises:
        HarmonyError: a name that is not known.
    """
    unknown = next((name for name in names if name not in REWRITES), None)
    if unknown is not None:
        raise HarmonyError(f"rewrite {unknown!r} is not known; choose from {', '.join(REWRITES)}")
    return [r for r in REWRITES.values() if r.name in names and not (r.static_only and size is None)]
