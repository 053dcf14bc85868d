"""Composites and their masks in two folders, paired by name; whatever is left out of either is reported."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from harmonyrt.common import HarmonyError

SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".tif", ".tiff", ".webp", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif", ".avifs"),
}
"""Suffixes of the formats that are read. A file with another suffix is taken for a picture if it has a partner."""


@dataclass(frozen=True)
class Pair:
    """A composite and its mask."""

    composite: Path
    mask: Path


@dataclass(frozen=True)
class Pairing:
    """What two folders hold: pairs, and everything else.

    Attributes:
        pairs: by the composites' names.
        failed: (composite, sentence) that cannot be harmonized: without a mask, or a link that leads nowhere.
        without_composite: masks that nothing needs.
        passed_over: sentences about entries that are no composites: folders, hidden files, files of another kind.
    """

    pairs: tuple[Pair, ...]
    failed: tuple[tuple[Path, str], ...]
    without_composite: tuple[Path, ...]
    passed_over: tuple[str, ...]

    def remarks(self) -> list[str]:
        """Notes about what is neither a pair nor a failure."""
        unused = [f"note: no composite goes with the mask {path}" for path in self.without_composite]
        return [*unused, *(f"note: {sentence}" for sentence in self.passed_over)]


def paired(composites: Path, masks: Path) -> Pairing:
    """Pair `composites/NAME.jpg` with `masks/NAME.png`, whatever the suffixes.

    A composite NAME_1 that has no mask of its own takes the mask NAME, as in iHarmony4, where several composites
    share a mask. A letter with an accent may be one character in one name and two in the other, as between Linux and
    macOS. Folders inside the folders are not entered; names that begin with a dot are passed over.

    Raises:
        HarmonyError: a folder cannot be listed, there is no pair, or two masks have the same name.
    """
    there, found = _listed(composites), _masks(_listed(masks))
    named = {path.stem for path in there.files if _is_picture(path)}
    pairs, failed, passed_over, used = [], [], [*there.passed_over, *found.passed_over], set()
    for composite in there.files:
        mask, known = found.of(composite), _is_picture(composite)
        if not known and (mask is None or composite.stem in named):
            why = "no mask has its name" if mask is None else "a picture of the same name takes the mask"
            passed_over.append(f"{composite} is passed over: {_kind(composite)}, and {why}")
            continue
        problem = there.problems.get(composite)
        if problem is None and mask is None:
            problem = f"has no mask of the same name in {masks}; add one or remove it"
        if problem is not None:
            failed.append((composite, f"{composite} {problem}"))
        elif mask in found.problems:
            failed.append((composite, f"{composite} cannot be harmonized: its mask {mask} {found.problems[mask]}"))
        elif mask is not None:  # without one there is a problem
            pairs.append(Pair(composite, mask))
        used.add(mask)
    if not pairs and not used - {None}:
        raise HarmonyError(
            f"no picture in {composites} has a mask of the same name in {masks}; name them alike (photo.jpg, photo.png)"
        )
    passed_over += [f"{path} is passed over: {_kind(path)}" for path in sorted(found.others - used)]
    return Pairing(tuple(pairs), tuple(failed), tuple(sorted(found.pictures - used)), tuple(passed_over))


@dataclass
class _Folder:
    """What a folder holds: files, with what is wrong with some of them, and sentences about the rest."""

    files: list[Path] = field(default_factory=list)
    problems: dict[Path, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)


@dataclass
class _Masks:
    by_stem: dict[str, Path]
    by_form: dict[str, list[Path]]
    problems: dict[Path, str]
    passed_over: list[str]
    pictures: set[Path]
    others: set[Path]

    def of(self, composite: Path) -> Path | None:
        """The mask of a composite, by its stem; by its whole name where the suffix may be part of that."""
        stem, beginning = composite.stem, composite.stem.rpartition("_")[0]
        return self._named(stem) or (self._named(beginning) if beginning else None) or self._named(composite.name)

    def _named(self, stem: str) -> Path | None:
        alike = self.by_form.get(_form(stem), [])
        return self.by_stem.get(stem) or (alike[0] if len(alike) == 1 else None)


def _masks(there: _Folder) -> _Masks:
    by_stem: dict[str, Path] = {}
    pictures = [path for path in there.files if _is_picture(path)]
    for path in pictures:
        if path.stem in by_stem:
            raise HarmonyError(
                f"{by_stem[path.stem]} and {path} would both be the mask {path.stem}; remove one of them"
            )
        by_stem[path.stem] = path
    others = defaultdict(list)
    rest = set(there.files) - set(pictures)
    for path in rest:
        others[path.stem].append(path)
    for stem, paths in others.items():  # masks/photo without a suffix; not masks/photo.json next to masks/photo.png
        if len(paths) == 1:
            by_stem.setdefault(stem, paths[0])
    by_form = defaultdict(list)
    for stem, path in by_stem.items():
        by_form[_form(stem)].append(path)
    return _Masks(by_stem, by_form, there.problems, there.passed_over, set(pictures), rest)


def _form(name: str) -> str:
    """A name as Unicode composes it: macOS and some archives store letters and accents apart."""
    return unicodedata.normalize("NFC", name)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _kind(path: Path) -> str:
    return f"{path.suffix} is not the suffix of a picture" if path.suffix else "it has no suffix"


def _listed(folder: Path) -> _Folder:
    found = _Folder()
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise HarmonyError(f"{folder} cannot be listed ({error.strerror}); give a readable folder") from None
    hidden = [path for path in entries if path.name.startswith(".")]
    if hidden:
        names = ", ".join(path.name for path in hidden[:3]) + (", …" if len(hidden) > 3 else "")
        found.passed_over.append(f"hidden entries of {folder} are passed over: {names} ({len(hidden)})")
    for path in entries:
        if path.name.startswith("."):
            continue
        try:
            mode = path.stat().st_mode
        except OSError as error:
            missing = isinstance(error, FileNotFoundError) and path.is_symlink()
            found.problems[path] = (
                f"is a link to {os.readlink(path)}, which does not exist; fetch it or remove the link"
                if missing
                else f"cannot be read ({error.strerror}); mend or remove it"
            )
            found.files.append(path)
            continue
        if stat.S_ISDIR(mode):
            found.passed_over.append(f"{path} is a folder and is not entered")
            continue
        found.files.append(path)
        if not stat.S_ISREG(mode):
            found.problems[path] = "is a pipe or a device and not a file; remove it"
    return found
