"""HarmonyRT's acceptance gate for Polygraphy: `--compare-func-script gate.py`. Needs NumPy only, and its own folder.

The gate looks at the picture that a user would get, blended with the mask; Polygraphy's own comparisons look at the
network's output, most of which the mask hides.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = "pytorch-fp32"
"""Name of the run in `golden.json`."""
_FOLDER = Path(__file__).resolve().parent
_MOST_DB = 200.0


def compare_outputs(found: Any, golden: Any) -> OrderedDict[str, bool]:
    """Hold an engine's answer for one composite to the gate of the bundle's precision.

    Args:
        found: Polygraphy's result of the engine.
        golden: of `golden.json`, in either place.
    """
    if found.runner_name == GOLDEN:
        found, golden = golden, found
    if golden.runner_name != GOLDEN:
        raise SystemExit("gate.py compares with golden.json: give one runner, and --load-outputs golden.json")
    gate, (number, case) = _gate(), _case_of(golden["output"])
    output, expected = np.asarray(found["output"]), np.asarray(golden["output"])
    if output.shape != expected.shape or not np.isfinite(output).all():
        return _told(case["name"], "not finite, or of another shape", False)
    if case["extreme"]:
        return _told(case["name"], "finite, as an edge case has to be", True)
    difference = np.abs(output - expected)
    worst, decibels = float(difference.max()), _psnr(_blended(output, number) - _blended(expected, number), 1.0)
    fits = worst <= gate["max_abs_error"] if gate["precision"] == "fp32" else decibels >= gate["psnr_db"]
    return _told(case["name"], f"max abs error {worst:.1e}, {decibels:.1f} dB after blending", fits)


def compare_tensors(found: Any, reference: Any) -> OrderedDict[str, bool]:
    """Hold every tensor that two runs of a graph share to the gate of a component, in the order of the graph.

    Prints one line for each; the first that says FAILED is where the engine leaves the gate.
    """
    verdicts: OrderedDict[str, bool] = OrderedDict()
    gate = _gate()
    place = {name: number for number, name in enumerate(gate["tensors"])}
    shared = [name for name in found if name in reference]
    for name in sorted(shared, key=lambda name: place.get(name, len(place))):
        values, expected = np.asarray(found[name], np.float64), np.asarray(reference[name], np.float64)
        if values.shape != expected.shape or not np.isfinite(values).all():
            verdicts |= _told(name, "not finite, or of another shape", False)
            continue
        if not values.size:
            continue
        difference, peak = np.abs(values - expected), float(np.abs(expected).max())
        relative, decibels = float(difference.max()) / (peak or 1.0), _psnr(difference, peak)
        fits = relative <= gate["tensor_error"] if gate["precision"] == "fp32" else decibels >= gate["psnr_db"]
        verdicts |= _told(name, f"{relative:.1e} of its largest value, {decibels:.1f} dB", fits)
    return verdicts


@lru_cache(maxsize=1)
def _gate() -> dict[str, Any]:
    return json.loads((_FOLDER / "gate.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _composites() -> dict[str, np.ndarray]:
    with np.load(_FOLDER / "composites.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def _case_of(golden: Any) -> tuple[int, dict[str, Any]]:
    """Which composite this is the golden output of: comparisons are not told, and may run in any order."""
    digest = hashlib.sha256(np.ascontiguousarray(golden).tobytes()).hexdigest()
    for number, case in enumerate(_gate()["cases"]):
        if case["sha256"] == digest:
            return number, case
    raise SystemExit("golden.json is not the one that gate.json belongs to: write the folder again")


def _blended(output: np.ndarray, number: int) -> np.ndarray:
    image, mask = (_composites()[f"{name}_{number}"] for name in ("image", "mask"))
    return np.clip(output.astype(np.float64) * mask + image * (1.0 - mask), 0, 1)


def _psnr(difference: np.ndarray, peak: float) -> float:
    mean = float(np.mean(difference.astype(np.float64) ** 2))
    return _MOST_DB if mean == 0 or peak == 0 else min(_MOST_DB, 10 * float(np.log10(peak**2 / mean)))


def _told(name: str, what: str, fits: bool) -> OrderedDict[str, bool]:
    print(f"{'fine  ' if fits else 'FAILED'}  {name}: {what}")
    return OrderedDict({name: fits})
