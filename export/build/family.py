"""What a network family tells the build spine. `harmonyrt.export.phnet.family` is the short example.

A family is a module (or an object) with the members of :class:`Family`, listed in
:data:`harmonyrt.export.build.options.FAMILIES`. Its module imports neither torch nor onnx at the top: an unchanged
rebuild is answered from recipes alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from harmonyrt.common.progress import Reporter
from harmonyrt.export.targets import BuildOptions, Size
from harmonyrt.runtime.manifest import ModelSpec, Parity, Skipped, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir

    from harmonyrt.export.build.gate import Distance, Reference, Run

NETWORK = "network"
"""Name of the only component of a family that has one; its engines are at the top of the bundle."""


class Recipe(Protocol):
    """One bundle to build; each family has a frozen data class of its own."""

    @property
    def name(self) -> str: ...  # the bundle's folder
    @property
    def precision(self) -> str: ...
    @property
    def size(self) -> Size: ...  # of the composite that the engines take
    @property
    def targets(self) -> tuple[str, ...]: ...  # those that can exist
    @property
    def skipped(self) -> tuple[Skipped, ...]: ...
    @property
    def rewrites(self) -> tuple[str, ...]: ...
    @property
    def options(self) -> BuildOptions: ...
    @property
    def tune(self) -> float | None: ...  # seconds of measuring
    @property
    def source_name(self) -> str: ...  # of the checkpoint, for people
    @property
    def source_sha256(self) -> str: ...
    def facts(self) -> dict: ...  # what decides the content besides the targets, as JSON can hold it


@dataclass(frozen=True)
class Typed:
    """A component's graph in one precision.

    Attributes:
        graph: typed, or with Q/DQ.
        rewrites: that were applied to it.
        key: equal for equal graphs of one component.
    """

    graph: ir.Model
    rewrites: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Component:
    """One network of a family, ready to be built.

    Attributes:
        name: the engine's ``component`` in the manifest; :data:`NETWORK` if there is only one.
        parameters: number of values that its engines hold.
        references: calls with the answers of the PyTorch FP32 module.
        typed: (target, precision, rewrites) -> graph. Raises WorkFailed where a precision is not possible.
        simulated: typed graph -> FP32 graph with the same rounding, for what cannot run on this machine.
        is_picture: its output is the picture to blend; otherwise the gate compares raw values.
    """

    name: str
    parameters: int
    references: Sequence[Reference]
    typed: Callable[[str, str, Sequence[str]], Typed]
    simulated: Callable[[ir.Model], ir.Model]
    is_picture: bool = True


@dataclass(frozen=True)
class Results:
    """What a build found out, and what ``model.config`` of a family with several components says of it.

    Attributes:
        parameters: by component.
        whole: parity of all components together, by target.
        notes: components that fell back to another precision, and why.
    """

    parameters: Mapping[str, int] = field(default_factory=dict)
    whole: Mapping[str, Parity] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def to_config(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "components": {name: {"parameters": count} for name, count in self.parameters.items()},
            "parity_of_the_whole": {target: asdict(parity) for target, parity in self.whole.items()},
            "fallbacks": list(self.notes),
        }

    @classmethod
    def of_target(cls, config: Mapping[str, Any], target: str) -> Results:
        """What a configuration says of one target."""
        whole = {name: Parity(**found) for name, found in config.get("parity_of_the_whole", {}).items()}
        notes = [note for note in config.get("fallbacks", ()) if f" for {target} is " in note]
        return cls(whole={target: whole[target]} if target in whole else {}, notes=notes)


@dataclass(frozen=True)
class Described:
    """The part of a manifest that depends on the family; fields as in :class:`harmonyrt.runtime.manifest.Manifest`."""

    model: ModelSpec
    size: Size
    working_size: int
    size_multiple: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def tensor(name: str, channels: int, size: Size, meaning: str) -> TensorSpec:
    """A float32 NCHW tensor in [0, 1]; of any size and batch if `size` is None, otherwise of batch 1."""
    shape = (-1, channels, -1, -1) if size is None else (1, channels, *size)
    return TensorSpec(name, shape, "float32", "NCHW", (0.0, 1.0), meaning)


def plain(config: dict) -> dict:
    """A configuration as JSON gives it back: tuples as lists."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}


R = TypeVar("R", bound=Recipe)
R_contra = TypeVar("R_contra", bound=Recipe, contravariant=True)


class FamilySession(Protocol[R_contra]):
    """The networks of one checkpoint while their bundles are being built."""

    def components(self, recipe: R_contra) -> Iterator[Component]:
        """Trace the components one after another; the caller drops each before it asks for the next."""

    def measure_whole(self, recipe: R_contra, runs: Mapping[str, Run]) -> Distance | None:
        """Run all components together and compare with PyTorch; None if there is only one component."""

    def describe(self, recipe: R_contra, results: Results) -> Described:
        """What the manifest says about the networks."""


class Family(Protocol[R]):
    """A network family."""

    @property
    def FALLBACK(self) -> Mapping[str, tuple[str, ...]]:
        """By precision asked for: precisions to try for each component, in this order."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this family has."""

    def recipes(self, arguments: argparse.Namespace) -> list[R]:
        """One recipe per bundle; raises HarmonyError for input that is wrong."""

    def component_names(self, recipe: R) -> tuple[str, ...]:
        """The components that a complete bundle has."""

    def built_together(self, recipes: Sequence[R]) -> list[list[R]]:
        """Recipes in groups that share traced components."""

    def load(self, recipe: R, report: Reporter) -> FamilySession[R]:
        """Load the checkpoint. Raises HarmonyError if it is unusable, before anything is written."""
