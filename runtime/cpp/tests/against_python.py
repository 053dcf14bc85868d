"""Compare program `hrt` with the Python runtime on a real bundle: equal to within a level of 255, background untouched.

python runtime/cpp/tests/against_python.py build/cpp/release/programs/hrt engines/phnet-256-fp32
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from harmonyrt.runtime import Harmonizer

EXAMPLES = Path(__file__).parents[3] / "examples"
SIZES = ((640, 480), (333, 501), (200, 131), (1501, 1001))  # larger and smaller than the engine, odd ones among them


def main() -> int:
    """Exit code 0 when every size agrees."""
    program, bundle = sys.argv[1:3]
    composite = Image.open(EXAMPLES / "lemur.jpg").convert("RGB")
    mask = Image.open(EXAMPLES / "lemur_mask.png").convert("L")
    worst = 0
    with Harmonizer.open(bundle, threads=1) as harmonizer, tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            files = [str(Path(folder) / name) for name in ("composite.png", "mask.png", "output.png")]
            picture, cover = composite.resize(size), mask.resize(size)
            picture.save(files[0])
            cover.save(files[1])
            command = [program, bundle, *files, "--backend", harmonizer.info.backend, "--threads", "1"]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            found = np.asarray(Image.open(files[2])).astype(int)
            expected = np.asarray(harmonizer.harmonize(picture, cover)).astype(int)
            background = np.asarray(cover) == 0
            if not np.array_equal(found[background], np.asarray(picture)[background]):
                print(f"{size}: bytes outside the mask changed")
                return 1
            difference = np.abs(found - expected)
            share = (difference > 0).mean()
            print(f"{size[0]}x{size[1]}: at most {difference.max()} levels, {share:.4%} of values differ")
            worst = max(worst, int(difference.max()))
    return int(worst > 1)


if __name__ == "__main__":
    sys.exit(main())
