"""Parameters of a request in the open inference protocol, as `/v2` and Triton's Python backend hand them over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.controls import checked_controls

_DIFFUSION = ("seed", "sample", "steps")


def read_parameters(given: Mapping[str, Any], diffusion: bool) -> dict[str, Any]:
    """Arguments of `harmonize` from a request's parameters.

    Numbers and truth values may come as text: some clients and some releases of Triton send them so.

    Args:
        given: `strength` (0 to 1.5), `keep` ("luminance" or "hue"), `fit_mask`; with `diffusion` also `seed`, `sample`
            and `steps`.
        diffusion: whether the model is one.

    Returns:
        `strength`, `keep`, `fit_mask`, and `options` (RunOptions) where any of the last three was given.

    Raises:
        HarmonyError: a parameter that is unknown or out of its range.
    """
    known = ("strength", "keep", "fit_mask", *(_DIFFUSION if diffusion else ()))
    check_known(given, known)
    strength, keep = number("strength", given.get("strength", 1.0)), given.get("keep")
    checked_controls(strength, keep)
    fit = given.get("fit_mask", False)
    if not isinstance(fit, (bool, str)) or fit not in (True, False, "true", "false"):
        raise HarmonyError(f"fit_mask is {str(fit)[:40]}; give true or false")
    options: dict[str, Any] = {"strength": strength, "keep": keep, "fit_mask": fit in (True, "true")}
    numbers: dict[str, Any] = {
        name: whole_number(name, given[name], name == "steps") for name in _DIFFUSION if name in given
    }
    if numbers:
        from harmonyrt.runtime.diffusion import RunOptions

        options["options"] = RunOptions(**numbers)
    return options


def check_known(given: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Refuse parameters that would be passed over without a word.

    Raises:
        HarmonyError: one that is not among `names`.
    """
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        what = f"give some of {', '.join(names)}" if names else "give none"
        raise HarmonyError(f"the request has a parameter {unknown[:80]!r}; {what}")


def number(name: str, value: Any) -> float:
    """A finite number, which may come as text.

    Raises:
        HarmonyError: it is none.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise HarmonyError(f"{name} is {str(value)[:40]}; give a number")
    return found


def whole_number(name: str, value: Any, least: int) -> int:
    """A whole number, which may come as text.

    Raises:
        HarmonyError: it is none, or less than `least`.
    """
    found = number(name, value)
    if found != int(found) or found < least:
        raise HarmonyError(f"{name} is {str(value)[:40]}; give a whole number of {int(least)} or more")
    return int(found)
