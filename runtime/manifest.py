"""The manifest of a bundle: what `manifest.json` says, as data classes. Builds write it, runtimes read it.

Schema 1 is a bundle of one precision; schema 2 one with engines of several, which readers of schema 1 alone must not
take for the other. A reader refuses other schema versions; within one, unknown keys are refused too, so that a misspelt
or foreign manifest never half-works. `docs/bundle.md` describes every field for readers in other languages.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from harmonyrt.common import HarmonyError

SCHEMA = 1
SEVERAL_PRECISIONS = 2
"""Schema of a bundle with engines of several precisions."""
FILE_NAME = "manifest.json"
KIND = "harmonyrt-bundle"
TARGETS = ("onnx", "openvino", "tensorrt", "tensorrt-rtx")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""The most exact first."""
BACKEND_OF_TARGET = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt",
}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the engines.

    Attributes:
        name: tensor name in the graph.
        shape: dimensions; -1 where the engine takes any (batch) or any multiple of :attr:`Manifest.size_multiple`.
        dtype: NumPy name, for example ``"float32"``.
        layout: for example ``"NCHW"``.
        range: [low, high] of the values; outputs may pass it slightly where the model does not clamp.
        meaning: ``"composite"``, ``"mask"`` (1 = foreground) or ``"output"`` (before blending).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str
    range: tuple[float, float]
    meaning: str


@dataclass(frozen=True)
class ModelSpec:
    """The network: family (``"phnet"``, ``"diffharmony"``), its configuration, and where its weights came from."""

    family: str
    config: dict[str, Any]
    parameters: int
    checkpoint: str
    checkpoint_sha256: str
    random_weights: bool = False


@dataclass(frozen=True)
class FileSpec:
    """A file of the bundle, relative to its folder."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Parity:
    """Measured distance to the PyTorch FP32 module, on real composites.

    Attributes:
        cases: how many composites were compared.
        max_abs_error: largest difference of the output before blending, in [0, 1] units.
        psnr_db: PSNR of the blended picture against the module's blended picture, worst case, peak 1; at most 200.
        gate: the sentence that had to hold, for example ``"max_abs_error <= 1e-4"``.
        measured_on: what ran the engine, for example ``"onnxruntime 1.31.1, CPU"``. For an engine that the building
            machine cannot run it names what ran instead: its typed ONNX.
    """

    cases: int
    max_abs_error: float
    psnr_db: float
    gate: str
    measured_on: str


@dataclass(frozen=True)
class EngineSpec:
    """One engine.

    Attributes:
        target: one of :data:`TARGETS`.
        precision: one of :data:`PRECISIONS`.
        files: the engine's files; the first is the one that a backend opens.
        census: how many nodes or layers compute in which type, for example ``{"float16": 40, "float32": 61}``.
        needs: what the machine must have; TensorRT: ``version``, ``compute_capability`` (``"8.9"``), ``driver``.
        parity: as measured by the build.
        rewrites: names of the graph rewrites that were applied.
        build_seconds: how long the build of this engine took.
        component: which network of the family it is; ``"network"`` where there is only one.
    """

    target: str
    precision: str
    files: tuple[FileSpec, ...]
    census: dict[str, int]
    parity: Parity
    needs: dict[str, str] = field(default_factory=dict)
    rewrites: tuple[str, ...] = ()
    build_seconds: float = 0.0
    component: str = "network"

    @property
    def is_native(self) -> bool:
        """It needs the kernels of :mod:`harmonyrt.runtime.native`; a plain one stands by it."""
        return "native" in self.needs

    @property
    def label(self) -> str:
        """For example ``"openvino fp32"``, or ``"openvino fp32 native"``."""
        return f"{self.target} {self.precision}{' native' if self.is_native else ''}"

    @property
    def backend(self) -> str:
        """The backend that runs this engine."""
        return BACKEND_OF_TARGET[self.target]


@dataclass(frozen=True)
class Skipped:
    """A combination that was asked for and cannot exist, with the reason."""

    target: str
    precision: str
    reason: str


@dataclass(frozen=True)
class Measurement:
    """A quick timing by `build --tune`: valid on the machine that it names, for one picture at a time.

    `precision` is that of the engine in a bundle of several, and empty in others.
    """

    backend: str
    target: str
    threads: int
    milliseconds: float
    machine: str
    precision: str = ""


@dataclass(frozen=True)
class Manifest:
    """Everything that a runtime needs to know about a bundle.

    Attributes:
        name: the bundle's folder name at build time, for example ``"phnet-256-fp32"``.
        size: [height, width] of the engines, or None when they take any multiple of `size_multiple`.
        batch: pictures per call, or None for any.
        working_size: the side that pictures are fitted to when `size` is None.
        binary_mask: the network was trained on 0/1 masks: threshold at 0.5 after resizing.
        recipe: what the build was asked for.
        precision: of the engines; of those of several precisions, the most exact one.
        recipe_sha256: hash of recipe, checkpoint and tool versions; equal means that a rebuild changes nothing.
        tools: versions of what built it.
    """

    name: str
    model: ModelSpec
    precision: str
    size: tuple[int, int] | None
    batch: int | None
    working_size: int
    size_multiple: int
    binary_mask: bool
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    engines: tuple[EngineSpec, ...]
    tools: dict[str, str]
    recipe: dict[str, Any]
    recipe_sha256: str
    created: str
    skipped: tuple[Skipped, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    schema: int = SCHEMA
    kind: str = KIND

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those of the engines, the most exact first."""
        found = {engine.precision for engine in self.engines}
        return tuple(precision for precision in PRECISIONS if precision in found)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        data = dataclasses.asdict(self)
        for measurement in data["measurements"]:
            if self.schema == SCHEMA:  # which does not have the field
                del measurement["precision"]
        return json.dumps(data, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = FILE_NAME) -> Manifest:
        """Read `manifest.json`.

        Args:
            text: its text.
            where: how messages name it.

        Raises:
            HarmonyError: not JSON, another schema, or a field that is missing, unknown or of the wrong type.
        """
        try:
            data = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise HarmonyError(f"{where} is not valid JSON ({error}); build the bundle again") from None
        if not isinstance(data, dict) or data.get("kind") != KIND:
            raise HarmonyError(f"{where} is not the manifest of a HarmonyRT bundle; give a folder that `build` wrote")
        schema = data.get("schema")
        if type(schema) is not int or schema not in (SCHEMA, SEVERAL_PRECISIONS):
            raise HarmonyError(
                f"{where} has schema {schema!r}, this runtime reads schemas {SCHEMA} and {SEVERAL_PRECISIONS};"
                " build the bundle again with this version, or install the one that wrote it"
            )
        manifest = _parse(cls, data, where)
        for index, measurement in enumerate(manifest.measurements):
            place = f"{where}.measurements[{index}]"
            if schema == SCHEMA and "precision" in data["measurements"][index]:
                raise HarmonyError(
                    f"{place} has the unknown field 'precision'; build the bundle again with this version"
                )
            if schema != SCHEMA and measurement.precision not in PRECISIONS:
                raise HarmonyError(f"{place} has no known precision: {measurement.precision!r}; build the bundle again")
        for engine in manifest.engines:
            if engine.target not in TARGETS or engine.precision not in PRECISIONS or not engine.files:
                raise HarmonyError(
                    f"{where} has an engine of target {engine.target!r}, precision {engine.precision!r} with"
                    f" {len(engine.files)} files, which this runtime does not know; build the bundle again"
                )
            for file in engine.files:
                path = PurePosixPath(file.path)
                if path.is_absolute() or ".." in path.parts or "\\" in file.path:
                    raise HarmonyError(f"{where} names the file {file.path!r} outside the bundle; do not trust it")
        return manifest


def _parse(kind: Any, value: Any, where: str) -> Any:
    """Turn JSON into `kind`: data classes, tuples, dictionaries, optional values and plain ones."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _parse(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list) or (arguments[-1] is not Ellipsis and len(value) != len(arguments)):
            raise HarmonyError(f"{where} should be a list, not {value!r:.60}; build the bundle again")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_parse(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict:
        if not isinstance(value, dict):
            raise HarmonyError(f"{where} should be an object, not {value!r:.60}; build the bundle again")
        return {key: _parse(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise HarmonyError(f"{where} should be of type {kind.__name__}, not {value!r:.60}; build the bundle again")
    return kind(value)


def _parse_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise HarmonyError(f"{where} should be an object, not {value!r:.60}; build the bundle again")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = next((key for key in value if key not in fields), None)
    if unknown is not None:
        raise HarmonyError(f"{where} has the unknown field {unknown!r}; build the bundle again with this version")
    for name, f in fields.items():
        optional = f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        if name not in value and not optional:
            raise HarmonyError(f"{where} has no field {name!r}; build the bundle again")
    return kind(**{key: _parse(hints[key], v, f"{where}.{key}") for key, v in value.items()})
