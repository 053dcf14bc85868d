"""A calibration as data: ranges, which layers become INT8, and why the others do not. JSON; fits every size."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import onnx

from harmonyrt.calibration.qdq import style_of, write_qdq
from harmonyrt.calibration.ranges import Range
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import written_whole

KIND = "harmonyrt-calibration"
SCHEMA = 3


@dataclass(frozen=True)
class LayerReport:
    """What the calibration found about one layer.

    Attributes:
        name: of the layer.
        share: of the network's multiplications, 0 to 1.
        alone_db: mean PSNR of the blended image if only this layer is INT8; None if not measured.
        int8: INT8 for targets with unsigned activations: `onnx` and `openvino`.
        int8_signed: INT8 for `tensorrt`, whose activations are signed (which loses one bit after every ReLU).
        reason: why it is not both; "" if it is.
    """

    name: str
    share: float
    alone_db: float | None
    int8: bool
    int8_signed: bool
    reason: str = ""


@dataclass(frozen=True)
class Calibration:
    """Ranges and decisions for one set of weights.

    Attributes:
        method: how the ranges were chosen.
        ranges: (low, high) of every tensor, by name.
        layers: every convolution, in the order of the network.
        methods_db: worst PSNR with all layers in INT8, by method tried.
        worst_db: PSNR of the blended image, INT8 against FP32, worst composite, in the worse style.
        mean_db: the same, mean.
        composites: how many the ranges come from.
        judged: how many others the PSNR was measured on.
        checkpoint_sha256: of the weights; "" if unknown.
        rewrites: of the graph; they decide its tensor names.
    """

    method: str
    ranges: dict[str, Range]
    layers: tuple[LayerReport, ...]
    methods_db: dict[str, float]
    worst_db: float
    mean_db: float
    composites: int
    judged: int
    checkpoint_sha256: str = ""
    rewrites: tuple[str, ...] = ()

    @property
    def int8_layers(self) -> tuple[str, ...]:
        """Names of the layers that are INT8 with unsigned activations."""
        return tuple(layer.name for layer in self.layers if layer.int8)

    @property
    def signed_layers(self) -> tuple[str, ...]:
        """Names of the layers that are INT8 with signed activations."""
        return tuple(layer.name for layer in self.layers if layer.int8_signed)

    def apply(self, model: onnx.ModelProto, target: str) -> onnx.ModelProto:
        """Write Q/DQ into an FP32 graph of the same weights and rewrites, of any size.

        Args:
            model: not changed.
            target: ``"onnx"``, ``"openvino"`` or ``"tensorrt"``.

        Raises:
            HarmonyError: a target without INT8, or a graph of other weights or rewrites.
        """
        style = style_of(target)
        return write_qdq(model, self.signed_layers if style.signed else self.int8_layers, self.ranges, style)

    def save(self, path: Path) -> None:
        """Write JSON."""
        data = {"kind": KIND, "schema": SCHEMA, **dataclasses.asdict(self)}
        with written_whole(path) as scratch:
            scratch.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what :meth:`save` wrote.

        Raises:
            HarmonyError: the file is missing, or is no calibration of this schema.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("kind") != KIND or data.pop("schema") != SCHEMA:
                raise ValueError("another kind or schema")
            data["ranges"] = {name: (float(low), float(high)) for name, (low, high) in data["ranges"].items()}
            data["rewrites"] = tuple(map(str, data["rewrites"]))
            data["layers"] = tuple(LayerReport(**layer) for layer in data["layers"])
            return cls(**data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise HarmonyError(f"{path} is not a calibration ({error}); make one with: harmonyrt calibrate") from None
