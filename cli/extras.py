"""What `harmonize` writes besides the picture: the foreground as a layer, and its change as a LUT."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.progress import say
from harmonyrt.runtime.images.encode import check_folder, check_layer, check_writable, write_picture_file
from harmonyrt.runtime.lut import ColourLut, check_cube


@dataclass(frozen=True)
class Extras:
    """Requested files; None if not requested."""

    layer: Path | None = None
    lut: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """Paths of the extra outputs that were asked for."""
        return [path for path in (self.layer, self.lut) if path is not None]

    def check(self, output: str, inputs: tuple[str | None, ...]) -> None:
        """Check before the work what writing would refuse.

        Raises:
            HarmonyError: a format that has no alpha or is no LUT's, a folder that is missing, or a name used twice.
        """
        if self.layer is not None:
            check_writable(self.layer)
            check_layer(self.layer)
        if self.lut is not None:
            check_cube(self.lut)
            check_folder(self.lut)
        taken = {Path(path).resolve() for path in (output, *inputs) if path and path != "-"}
        for path in self.paths:
            if path.resolve() in taken:
                raise HarmonyError(f"{path} is already an input or output of this command; choose another name")
            taken.add(path.resolve())

    def write(self, result: Any) -> tuple[list[str], dict[str, Any]]:
        """Write what was asked for.

        Args:
            result: a :class:`harmonyrt.runtime.harmonized.Harmonized`.

        Returns:
            Notes for the user, and what `--json` reports.
        """
        notes: list[str] = []
        told: dict[str, Any] = {}
        lut = None if self.lut is None else result.lut()
        if self.layer is not None:
            layer = result.layer()
            if layer.beyond:
                notes.append(
                    f"{self.layer}: the change leaves the range of colours in {layer.beyond} pixels of the soft edge,"
                    " where the layer over the composite differs from the harmonized picture by more than a level"
                )
            notes += write_picture_file(layer.picture, self.layer)
            told["layer"] = {"output": str(self.layer), "beyond": layer.beyond}
        if self.lut is not None and lut is not None:
            lut.write(self.lut)
            told["lut"] = {"output": str(self.lut), **_residual(lut)}
        return notes, told


NO_EXTRAS = Extras()


def say_residual(told: dict[str, Any]) -> None:
    """What a LUT misses, in a line; nothing if none was written."""
    if "lut" in told:
        lut = told["lut"]
        say(
            f"{lut['output']}: residual of the LUT in levels of 255: mean {lut['residual_mean']:.2f},"
            f" 95th percentile {lut['residual_p95']:.2f}"
        )


def _residual(lut: ColourLut) -> dict[str, float]:
    return {"residual_mean": round(lut.mean, 4), "residual_p95": round(lut.p95, 4)}
