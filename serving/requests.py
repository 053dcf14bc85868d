"""What a request to `/v1/harmonize` asks for: the form's fields as one checked value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.controls import KEEP, checked_controls
from harmonyrt.runtime.images.inputs import read_place
from harmonyrt.serving.bodies import Form
from harmonyrt.serving.problems import Problem

PICTURES = ("composite", "mask", "foreground", "background", "match")
FIELDS: dict[str, str] = {
    "composite": "Composite: a picture. Without `mask` its alpha is the mask.",
    "mask": "Mask of the foreground, white, of the composite's size.",
    "foreground": "A cut-out: a picture with transparency, pasted on `background`.",
    "background": "Picture that `foreground` goes on.",
    "at": "With `background`: pixel x,y of the background on which the cut-out's upper left corner goes. Default: 0,0.",
    "scale": "With `background`: scale of the cut-out. Default: 1.",
    "premultiplied": "With `background`: the cut-out's colours are multiplied by its alpha already.",
    "model": "Name of one of the models. Default: the first of /v1/models.",
    "format": "Format of the answer: png, jpg, tif, webp or bmp. Default: the composite's (or background's).",
    "quality": "Of a jpg or webp, 1 to 100. Default: 95 for jpg; webp is lossless.",
    "strength": "How much of the change, 0 (none) to 1.5. Default: 1, the network's answer.",
    "keep": "luminance or hue of the foreground stay; only the other changes.",
    "match": "Mask of the part of the background to match; the rest is ignored.",
    "fit_mask": "Resize a mask of another size.",
    "invert_mask": "The mask is white on the background.",
    "label": "Of a mask that holds labels: which are the foreground, separated by commas.",
    "output": "What to answer: picture (default), layer (the foreground alone, with alpha) or lut (.cube).",
    "seed": "DiffHarmony: which noise. Default: 0.",
    "sample": "DiffHarmony: which variation. Default: 0.",
    "steps": "DiffHarmony: steps. Default: the bundle's.",
}
"""Fields of the form, and what each means."""

FORMATS = {
    "png": ".png",
    "jpg": ".jpg",
    "jpeg": ".jpg",
    "tif": ".tif",
    "tiff": ".tif",
    "webp": ".webp",
    "bmp": ".bmp",
}
OUTPUTS = ("picture", "layer", "lut")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class HarmonizeRequest:
    """A request, its fields checked. Pictures are the bytes of files."""

    pictures: dict[str, bytearray]
    at: tuple[int, int]
    scale: float
    premultiplied: bool
    format: str | None
    quality: int | None
    strength: float
    keep: str | None
    fit_mask: bool
    invert_mask: bool
    label: tuple[int, ...]
    output: str
    diffusion: dict[str, int]


def read_harmonize_request(form: Form) -> HarmonizeRequest:
    """Check what a form asks for.

    Raises:
        Problem: 400: a field is missing, does not go with another, or has a value that it cannot have.
    """
    pictures = {name: form.parts[name] for name in PICTURES if name in form.parts}
    try:
        _check_pictures(form, pictures)
        strength = _number(form, "strength", float, 1.0)
        keep = _choice(form, "keep", KEEP)
        checked_controls(strength, keep)
        chosen = _choice(form, "format", tuple(FORMATS))
        quality = _number(form, "quality", int, None)
        if quality is not None and not 1 <= quality <= 100:
            raise HarmonyError(f"the quality is {quality}; give 1 to 100")
        output = _choice(form, "output", OUTPUTS) or "picture"
        if output == "lut" and (chosen or quality):
            raise HarmonyError("format and quality are for pictures, and the output is lut; leave them out")
        diffusion = {name: _number(form, name, int, None) for name in ("seed", "sample", "steps")}
        scale = _number(form, "scale", float, 1.0)
        return HarmonizeRequest(
            pictures=pictures,
            at=read_place(form.text("at") or "0,0", "at"),
            scale=scale,
            premultiplied=_flag(form, "premultiplied"),
            format=FORMATS[chosen] if chosen else None,
            quality=quality,
            strength=strength,
            keep=keep,
            fit_mask=_flag(form, "fit_mask"),
            invert_mask=_flag(form, "invert_mask"),
            label=_labels(form.text("label")),
            output=output,
            diffusion={name: value for name, value in diffusion.items() if value is not None},
        )
    except HarmonyError as error:
        raise Problem(400, str(error)) from None


def _check_pictures(form: Form, pictures: dict[str, bytearray]) -> None:
    if "foreground" in pictures or "background" in pictures:
        for missing, there in (("foreground", "background"), ("background", "foreground")):
            if missing not in pictures:
                raise HarmonyError(f"the form has a {there} and no {missing}; give both, or a composite and its mask")
        for name in ("composite", "mask", "invert_mask", "label"):
            if form.parts.get(name):
                raise HarmonyError(
                    f"both foreground and {name} were given; the cut-out's own alpha is the mask: leave {name} out"
                )
        return
    if "composite" not in pictures:
        raise HarmonyError("the form has no composite; give composite and mask, or foreground and background")
    for name in ("at", "scale", "premultiplied"):
        if form.parts.get(name):
            raise HarmonyError(f"{name} is for a cut-out that goes on a background; give foreground and background")
    if "mask" not in pictures and form.parts.get("label"):
        raise HarmonyError("label is for a mask that holds labels, and no mask was given; give one")


def _number(form: Form, name: str, kind: Callable[[str], Any], default: _Value) -> Any:
    given = form.text(name)
    if given is None:
        return default
    whole = "a whole number" if kind is int else "a number"
    try:
        value = kind(given) if given.isascii() and len(given) <= 40 and "_" not in given else None
    except ValueError:
        value = None
    if value is None or not math.isfinite(value):
        raise HarmonyError(f"{name} is {given[:40]!r}; give {whole}")
    if kind is int and name != "quality" and value < (1 if name == "steps" else 0):
        raise HarmonyError(f"{name} is {value}; give {1 if name == 'steps' else 0} or more")
    return value


def _choice(form: Form, name: str, choices: tuple[str, ...]) -> str | None:
    given = form.text(name)
    if given is not None and given.lower() not in choices:
        raise HarmonyError(f"{name} is {given[:40]!r}; give {', '.join(choices[:-1])} or {choices[-1]}")
    return None if given is None else given.lower()


def _flag(form: Form, name: str) -> bool:
    given = (form.text(name) or "false").lower()
    if given not in (*_TRUE, *_FALSE):
        raise HarmonyError(f"{name} is {given[:40]!r}; give true or false")
    return given in _TRUE


def _labels(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isascii() and number.isdigit() and len(number) <= 9 for number in numbers):
        raise HarmonyError(f"label is {text[:40]!r}; give whole numbers, separated by commas")
    return tuple(int(number) for number in numbers)
