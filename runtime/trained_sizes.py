"""Whether an engine's size is one that its weights were trained for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WORKING_SIDE = 256
"""Side that pictures are fitted to for an engine of any size, where nothing is known of its weights."""


def working_side(trained: Sequence[int]) -> int:
    """Side that pictures are fitted to for an engine of any size: :data:`WORKING_SIDE`, or the nearest trained one."""
    return min(max(WORKING_SIDE, min(trained)), max(trained)) if trained else WORKING_SIDE


def outside_trained_sizes(config: Mapping[str, Any], size: tuple[int, int] | None) -> str | None:
    """What to tell a user of an engine whose weights were trained at other sizes.

    Args:
        config: the network's configuration, as a bundle's manifest has it; ``trained_sizes`` are sides in pixels.
        size: [height, width] of the engine; None takes any, and then pictures are fitted to a trained size.

    Returns:
        A sentence, or None where the size lies within the trained ones or nothing is known of them.
    """
    sides = config.get("trained_sizes") or ()
    if not sides or size is None:
        return None
    least, most = min(sides), max(sides)
    trained = f"{least} px" if least == most else f"{least} to {most} px"
    if all(least <= side <= most for side in size):
        return None
    height, width = size
    found = f"{height} px" if height == width else f"{height}x{width} px"
    best = max((side for side in sides if side <= max(size)), default=least)
    return (
        f"its weights were trained at {trained}, and it runs at {found}, where they do worse; build --sizes {best}"
        " (pictures of any size may go in)"
    )
