"""Which bundle a command uses when none is named."""

from __future__ import annotations

from pathlib import Path

from harmonyrt.common import HarmonyError

FOLDER = Path("engines")
"""Where `build` writes unless told otherwise, and where bundles are looked for."""


def chosen_bundle(given: Path | None) -> tuple[Path, list[str]]:
    """The bundle that was given, or the one to use of those under ``engines/``.

    Of several, the most exact one is taken: fp32 before fp16, bf16 and int8; then one of a fixed size, the smallest.

    Returns:
        Its path, and a line for the user about what was chosen, if there was a choice to make.

    Raises:
        HarmonyError: none was given and there is none.
    """
    if given is not None:
        return given, []
    from harmonyrt.runtime.bundle import open_bundle
    from harmonyrt.runtime.manifest import FILE_NAME, PRECISIONS

    found = []
    for path in sorted(FOLDER.glob(f"*/{FILE_NAME}")):
        try:
            manifest = open_bundle(path.parent).manifest
        except HarmonyError:
            continue
        size = manifest.size
        area = size[0] * size[1] if size else 0
        found.append((PRECISIONS.index(manifest.precision), size is None, area, path.parent))
    if not found:
        raise HarmonyError(
            f"there is no bundle in ./{FOLDER}; build one with harmonyrt build phnet, or name one with --bundle"
        )
    best = min(found)[-1]
    others = f", one of {len(found)} in ./{FOLDER}; choose with --bundle" if len(found) > 1 else ""
    return best, [f"using the bundle {best}{others}"]
