"""How composites are made: a plan, its JSON file, and the plans of validation and test."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from harmonyrt.common import HarmonyError

KINDS = {"ffhqh": 0.29, "transfer": 0.40, "tone": 0.24, "slight": 0.04, "same": 0.03}
MASKS = {"own": 0.91, "inverted": 0.03, "foreign": 0.03, "superpixels": 0.03}
SHARES = ("photos", "crops", "hard_edges", "regraded", "moved", "in_place", "independent", "spoilt_edges")
BOUNDS = ("regrading", "tones", "looks")
PAIRS = (*BOUNDS, "exposures")


@dataclass(frozen=True)
class CompositePlan:
    """How composites are made. Kinds and masks are drawn by weight.

    Attributes:
        kinds: ``ffhqh`` (paper, 3.2), ``transfer`` (colour statistics of another picture, as iHarmony4), ``tone``
            (exposure, white balance, curve), ``slight`` (a small tone change) and ``same`` (nothing changed).
        masks: ``own``, ``inverted`` (the background becomes the foreground), ``foreign`` (another picture's mask) and
            ``superpixels``; a photo without mask or outlines draws from the last two.
        photos: share of samples from photos without a mask file.
        crops: share of samples that are a random part of the photo; the others show all of it.
        hard_edges: share of samples whose mask is made binary.
        max_fmse: a change beyond this foreground MSE (0-255 scale) is scaled back to it: iHarmony4's makers threw
            implausible composites away by eye.
        min_fmse: a weaker change is scaled up to it (fourfold at most), but for ``slight`` and ``same``.
        regraded: share of samples whose photo, as a whole, gets another exposure, white balance, curve and saturation
            before its foreground is changed: the same red dress under many lights, so that the network learns to look
            at the background instead of knowing the dress.
        regrading: how strong that is, drawn between two bounds; 1 is as strong as kind ``tone``.
        white_balance: of regrading: standard deviation of the channels' gains, in logarithms, at strength 1.
        exposures: of regrading: the range of its exposure in stops, at strength 1.
        tones: how strong kind ``tone`` is, drawn between two bounds; 1 is up to 1.4 stops.
        moved: share of the samples that are made in layers with the object at another place of its photo.
        in_place: share made in layers with the object where it was. The rest are photos under their hard masks, whose
            fringe shows the answer (``layers.py``).
        scenes: how many of a batch's samples show one object, each over its scene regraded in another way, so that only
            the scene tells them apart; 1 shows every object once.
        independent: share of objects, with several scenes, whose look is drawn for itself instead of changed from the
            truth, and is the same over all of its scenes.
        looks: how strong that look is, drawn between two bounds; 1 is as strong as kind ``tone``.
        spoilt_edges: share of samples with imperfect masks or edges (``edges.py``): masks off by up to 4 pixels of 128,
            blurred, or with strips of unrelated content at the edge.
    """

    kinds: dict[str, float] = field(default_factory=KINDS.copy)
    masks: dict[str, float] = field(default_factory=MASKS.copy)
    photos: float = 0.38
    crops: float = 0.35
    hard_edges: float = 0.8
    max_fmse: float = 4000.0
    min_fmse: float = 160.0
    regraded: float = 0.3
    regrading: tuple[float, float] = (0.1, 0.5)
    white_balance: float = 0.22
    exposures: tuple[float, float] = (-1.4, 1.4)
    tones: tuple[float, float] = (1.0, 1.0)
    moved: float = 0.0
    in_place: float = 0.0
    scenes: int = 1
    independent: float = 0.0
    looks: tuple[float, float] = (0.0, 1.2)
    spoilt_edges: float = 0.0

    @property
    def in_layers(self) -> bool:
        """Whether any composite is made in layers."""
        return self.moved + self.in_place > 0

    def __post_init__(self) -> None:
        for weights, known in (("kinds", KINDS), ("masks", MASKS)):
            _check_weights(weights, getattr(self, weights), known)
        for share in SHARES:
            if not _is_number(getattr(self, share)) or not 0 <= getattr(self, share) <= 1:
                raise HarmonyError(f"a plan's {share} is a share from 0 to 1, not {getattr(self, share)!r}")
        _check_bounds("min_fmse and max_fmse", (self.min_fmse, self.max_fmse))
        for bounds in BOUNDS:
            _check_bounds(bounds, getattr(self, bounds))
        _check_bounds("exposures", self.exposures, least=-math.inf)
        if self.moved + self.in_place > 1:
            raise HarmonyError(
                f"a plan's moved and in_place are shares of one whole; {self.moved} and {self.in_place} are more than 1"
            )
        if not isinstance(self.scenes, int) or isinstance(self.scenes, bool) or self.scenes < 1:
            raise HarmonyError(f"a plan's scenes are a whole number from 1 on, not {self.scenes!r}")
        if self.scenes > 1 and not self.in_layers:
            raise HarmonyError("a plan shows an object in several scenes only in layers; give moved or in_place too")
        if not _is_number(self.white_balance) or self.white_balance < 0:
            raise HarmonyError(f"a plan's white_balance is a number from 0 on, not {self.white_balance!r}")


def read_plan(path: str | Path) -> CompositePlan:
    """A plan from JSON: an object with attributes of :class:`CompositePlan`, or a run's config.json, which has one.

    Raises:
        HarmonyError: no such file, no JSON, or something in it that no plan has.
    """
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise HarmonyError(
            f"{path} cannot be read as a plan ({error}); give a JSON file (see docs/training.md)"
        ) from None
    if isinstance(content, dict) and isinstance(content.get("plan"), dict):
        content = content["plan"]
    names = [entry.name for entry in fields(CompositePlan)]
    if not isinstance(content, dict) or not set(content) <= set(names):
        raise HarmonyError(f"{path} is not a plan; give a JSON object with any of {', '.join(names)}")
    for name in PAIRS:
        if isinstance(content.get(name), list):
            content[name] = tuple(content[name])
    try:
        return CompositePlan(**content)
    except HarmonyError as error:
        raise HarmonyError(f"{path}: {error}") from None


def _check_weights(name: str, weights: object, known: Mapping[str, float]) -> None:
    if not isinstance(weights, Mapping) or not set(weights) <= set(known):
        raise HarmonyError(f"a plan's {name} are weights of {', '.join(known)}, not {weights!r}")
    if not all(_is_number(weight) and weight >= 0 for weight in weights.values()) or not sum(weights.values()):
        raise HarmonyError(f"a plan's {name} need weights from 0 on, one of them above 0, not {weights!r}")


def _check_bounds(name: str, bounds: object, least: float = 0.0) -> None:
    pair = bounds if isinstance(bounds, tuple) and len(bounds) == 2 and all(map(_is_number, bounds)) else None
    if pair is None or not least <= pair[0] <= pair[1]:
        numbers = "numbers from 0 on" if least == 0 else "numbers"
        raise HarmonyError(f"a plan's {name} are two {numbers}, the lower first, not {bounds!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


TEST_PLAN = CompositePlan(
    kinds={"ffhqh": 0.27, "transfer": 0.43, "tone": 0.3},
    masks={"own": 1.0},
    photos=0.0,
    crops=0.0,
    hard_edges=1.0,
    min_fmse=250.0,
    regraded=0.0,
)
"""Validation and test: whole pictures, human masks, changed foregrounds only."""
SAME_PLAN = CompositePlan(kinds={"same": 1.0}, masks={"own": 1.0}, photos=0.0, crops=0.0, hard_edges=1.0, regraded=0.0)
"""Pictures that are right already, to measure what the network spoils."""
