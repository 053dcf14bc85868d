"""What the values of a mask mean: levels from black to white, labels of a segmentation, or video range.

One rule for files, arrays, PIL images and C++ (runtime/cpp/src/mask_levels.cpp is the twin; tests/vectors/masks.json
holds both to it). It sees only how often each value occurs, and gives a table from values to levels of 0 to 255:

1. The values 0 and 1 alone are background and foreground.
2. A mask none of whose values passes an eighth of white, with at most 16 of them besides 0, holds labels: every label
   but 0 is foreground. A 255 among them means "no label" (VOC's border) where the labels cover at least as much.
3. Lowest value 12 to 20 and highest 230 to 240 (of 255): video range, 16 to 235 is stretched.
4. Everything else is levels; a highest value far below white, or a lowest above black, is remarked upon.

docs/masks.md says it for users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harmonyrt.common import HarmonyError

MOST_LABELS = 16  # a mask of more faint values may as well be a faint matte
FAINT = 32  # an eighth of white in 8 bits
FAR_BELOW_WHITE = 240
VIDEO_LOW, VIDEO_HIGH = (12, 20), (230, 240)
NARROW_WHITES = (1023, 4095, 16383)  # white of 10, 12 and 14 bits
NO_LABEL = 255
_ROWS_AT_ONCE = 256
_SHOWN = 8
_CHOOSE = "choose with label= (--label)"


@dataclass(frozen=True)
class Remark:
    """How a mask was read.

    Attributes:
        kind: ``"binary"`` (0 and 1), ``"labels"``, ``"video range"``, ``"not white"``, ``"not black"``, ``"mixed"`` or
            ``"depth"``.
        text: what goes after the mask's name to make a sentence.
        doubtful: it is probably a mistake; else it is plain, and only said.
    """

    kind: str
    text: str
    doubtful: bool = False


def counted(values: np.ndarray, full: int) -> np.ndarray:
    """How often each value from 0 to `full` occurs in an unsigned array."""
    counts = np.zeros(full + 1, np.int64)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        counts += np.bincount(values[start : start + _ROWS_AT_ONCE].ravel(), minlength=full + 1)
    return counts


def levels_of(values: np.ndarray, *, labels: bool = True) -> tuple[np.ndarray, list[Remark]]:
    """Levels of 0 to 255 from a mask's values.

    Args:
        values: height x width, uint8 or uint16, not empty.
        labels: small values may be labels; False for an alpha channel, whose values are levels.

    Returns:
        uint8 of the same shape (`values` itself where nothing changes), and remarks.
    """
    if values.dtype == np.uint8 and _is_plain(values):
        return values, []
    table, remarks = table_for(counted(values, np.iinfo(values.dtype).max), labels=labels)
    if values.dtype == np.uint8 and (table == np.arange(256)).all():
        return values, remarks
    return table[values], remarks


def _is_plain(values: np.ndarray) -> bool:
    """Quick, for masks of 8 bits: black and white alone, or from black to white with greys between."""
    low, high = int(values.min()), int(values.max())
    if low != 0 or high < FAR_BELOW_WHITE:
        return False
    some = values[:: max(1, len(values) // 64)]
    if bool(((some > FAINT) & (some < NO_LABEL)).any()):
        return True
    return high == NO_LABEL and all(
        int((values[start : start + _ROWS_AT_ONCE] + np.uint8(1)).max()) <= 1
        for start in range(0, len(values), _ROWS_AT_ONCE)
    )


def table_for(counts: np.ndarray, *, labels: bool = True) -> tuple[np.ndarray, list[Remark]]:
    """The rule. `counts` as :func:`counted` gives it, for 8 or 16 bits; the table has as many entries."""
    full = len(counts) - 1
    found = np.flatnonzero(counts)
    low, high = int(found[0]), int(found[-1])
    table = np.zeros(len(counts), np.uint8)
    if full > 255 and high <= 255:
        table[:256], remarks = table_for(counts[:256], labels=labels)
        if high > 1 and not any(remark.kind == "labels" for remark in remarks):
            remarks.insert(0, Remark("depth", "has 16 bits and values up to 255: they are taken as levels of 8 bits"))
        return table, remarks
    if full > 255 and high in NARROW_WHITES:
        bits = high.bit_length()
        full, remarks = (
            high,
            [Remark("depth", f"has 16 bits and values up to {high}: that is taken as white ({bits} bits)")],
        )
    else:
        remarks = []
    if labels and high > 0:
        chosen = _labels(counts, found, full)
        if chosen is not None:
            table[chosen[0]] = 255
            return table, chosen[1]
    if full == 255 and VIDEO_LOW[0] <= low <= VIDEO_LOW[1] and VIDEO_HIGH[0] <= high <= VIDEO_HIGH[1]:
        stretched = (np.arange(256) - 16) * 255 + 109
        table[:] = np.clip(stretched // 219, 0, 255)
        return table, [
            Remark("video range", f"goes from {low} to {high}, video range: 16 to 235 is stretched to 0 to 255")
        ]
    table[: full + 1] = (np.arange(full + 1) * 255 + full // 2) // full
    table[full + 1 :] = 255
    if labels and full == 255 and high == NO_LABEL:
        faint = int(counts[1 : FAINT + 1].sum())
        if not counts[FAINT + 1 : NO_LABEL].any() and faint * 100 >= int(counts[NO_LABEL]) > faint > 0:
            values = _listed(found[(found > 0) & (found <= FAINT)])
            text = f"holds 255 and {values}, nearly black, which hardly change the picture"
            remarks.append(Remark("mixed", f"{text}; for labels, {_CHOOSE}", True))
    if high > 0 and table[high] < FAR_BELOW_WHITE:
        share = f"{high * 100 // full} %" if high * 100 >= full else "less than 1 %"
        text = f"has {high} as its highest value, far below white ({full}): the foreground gets {share} of its change"
        remarks.append(Remark("not white", f"{text}; give white, or for labels {_CHOOSE}", True))
    if 0 < table[low] < 128:
        text = f"has {low} as its lowest value: no pixel is left as it was"
        remarks.append(Remark("not black", f"{text}; give 0 for the background", True))
    return table, remarks


def _labels(counts: np.ndarray, found: np.ndarray, full: int) -> tuple[np.ndarray, list[Remark]] | None:
    """The values that are foreground, where the values are labels; None where they are levels."""
    low, high = int(found[0]), int(found[-1])
    if high == 1:
        return found[found > 0], [Remark("binary", "holds the values 0 and 1: taken as background and foreground")]
    ids = found[(found > 0) & (found < NO_LABEL)] if full == 255 else found[found > 0]
    bordered = full == 255 and high == NO_LABEL
    if not len(ids) or int(ids[-1]) > (full + 1) // 8 or len(ids) > MOST_LABELS:
        return None
    if bordered and int(counts[ids].sum()) < int(counts[NO_LABEL]):
        return None
    if low > 0:
        text = f"holds the labels {_listed(ids)} and no 0: which is the background cannot be told, all are taken as"
        return ids, [Remark("labels", f"{text} foreground; {_CHOOSE}", True)]
    which = f"label {_listed(ids)}: it is" if len(ids) == 1 else f"labels {_listed(ids)}: all of them are"
    border = ", 255 as no label" if bordered else ""
    text = f"holds the {which} taken as the foreground, 0 as the background{border}; {_CHOOSE}"
    return ids, [Remark("labels", text)]


def _listed(values: np.ndarray) -> str:
    shown = [str(value) for value in values.tolist()]
    if len(shown) > _SHOWN:
        return f"{', '.join(shown[:_SHOWN])} and {len(shown) - _SHOWN} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def chosen_labels(values: np.ndarray, label: int | Sequence[int], subject: str = "the mask") -> np.ndarray:
    """uint8, 255 where `values` (height x width, integers) is one of the labels.

    Raises:
        HarmonyError: no label, or one that occurs nowhere.
    """
    given = np.atleast_1d(np.asarray(label))
    if given.size and given.dtype.kind not in "ui":
        raise HarmonyError(f"the label is {label!r}; give a whole number, or a list of them")
    wanted = [int(one) for one in given]
    result = np.zeros(values.shape, bool)
    for one in wanted:
        here = values == one
        if not here.any():
            there = _listed(np.unique(values))
            raise HarmonyError(f"{subject} holds no label {one}; it holds {there}: choose among them")
        result |= here
    if not wanted:
        raise HarmonyError("no label was chosen; give one number or several")
    return result.view(np.uint8) * np.uint8(255)
