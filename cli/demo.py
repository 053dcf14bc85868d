"""`make demo`: build from the shipped weights, harmonize the shipped example, say how fast and where the picture is."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import make_folder
from harmonyrt.common.program import run_program

CHECKOUT = Path(__file__).resolve().parents[1]
EXAMPLE = CHECKOUT / "examples"
SIZE = 128
_WARM_UP = 3
_SECONDS = 5.0


def main() -> int:
    """Run the demo in the current folder: writes engines/ and demo/."""
    return run_program(_demo)


def _demo() -> int:
    from harmonyrt.cli.main import main as harmonyrt

    picture, mask, folder = EXAMPLE / "lemur.jpg", EXAMPLE / "lemur_mask.png", Path("demo")
    if not picture.is_file():
        raise HarmonyError("the demo needs a checkout of the repository, which holds its example; clone it first")
    targets = ["onnx", *(["openvino"] if find_spec("openvino") else [])]
    code = harmonyrt(["build", "phnet", "--sizes", str(SIZE), "--targets", *targets, "--output", "engines"])
    if code:
        return code
    make_folder(folder)
    common = [str(picture), str(mask), "--bundle", f"engines/phnet-{SIZE}-fp32"]
    for name, options in (("harmonized.png", []), ("side_by_side.png", ["--side-by-side"])):
        code = harmonyrt(["harmonize", *common, "-o", str(folder / name), *options])
        if code:
            return code
    print(_speed(Path(f"engines/phnet-{SIZE}-fp32"), picture, mask))
    print(f"The harmonized picture: {folder / 'harmonized.png'}")
    print(f"Composite, mask and harmonized next to each other: {folder / 'side_by_side.png'}")
    return 0


def _speed(bundle: Path, picture: Path, mask: Path) -> str:
    """A sentence with frame rates: of the engine alone, and of whole calls at the picture's size."""
    from harmonyrt.runtime.harmonizer import Harmonizer
    from harmonyrt.runtime.images.mask_files import read_mask_file
    from harmonyrt.runtime.images.pictures import read_picture_file
    from harmonyrt.runtime.machine import machine_name

    rgb, levels = read_picture_file(picture).rgb, read_mask_file(mask).values
    whole: list[float] = []
    engine: list[float] = []
    with Harmonizer.open(bundle) as harmonizer:
        for _ in range(_WARM_UP):
            harmonizer.harmonize(rgb, levels)
        end = time.perf_counter() + _SECONDS
        while not whole or time.perf_counter() < end:
            started = time.perf_counter()
            harmonizer.harmonize(rgb, levels)
            whole.append(time.perf_counter() - started)
            engine.append(harmonizer.timings.engine)
        info = harmonizer.info
    height, width = levels.shape
    return (
        f"{1 / median(engine):.1f} FPS in the engine at {SIZE} x {SIZE}, {1 / median(whole):.1f} FPS for whole pictures"
        f" of {width} x {height} (median of {len(whole)} calls; {info.backend}, {info.precision}, {machine_name()})"
    )


if __name__ == "__main__":
    sys.exit(main())
