"""Composites and their masks in two folders, paired by name; whatever is left out of either is reported."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.encode import WRITABLE

SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".tif", ".tiff", ".webp", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif", ".avifs"),
}
"""Suffixes of the formats that are read. A file with another suffix is taken for a picture if it has a partner."""


@dataclass(frozen=True)
class Pair:
    """A composite and its mask."""

    composite: PurePath
    mask: PurePath


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
    failed: tuple[tuple[PurePath, str], ...]
    without_composite: tuple[PurePath, ...]
    passed_over: tuple[str, ...]

    def remarks(self) -> list[str]:
        """Notes about what is neither a pair nor a failure."""
        unused = [f"note: no composite goes with the mask {path}" for path in self.without_composite]
        return [*unused, *(f"note: {sentence}" for sentence in self.passed_over)]


def paired(composites: Path, masks: Path) -> Pairing:
    """Pair `composites/NAME.jpg` with `masks/NAME.png`, whatever the suffixes.

    A composite NAME_1 that has no mask itself takes the mask NAME, as in iHarmony4, where several composites
    share a mask. A letter with an accent may be one character in one name and two in the other, as between Linux and
    macOS. Folders inside the folders are not entered; names that begin with a dot are passed over.

    Raises:
        HarmonyError: a folder cannot be listed, there is no pair, or two masks have the same name.
    """
    return paired_listings(listed(composites), listed(masks), str(composites), str(masks))


def paired_listings(in_composites: Listing, in_masks: Listing, composites: str, masks: str) -> Pairing:
    """Pair what two folders of any kind hold, by the rules of :func:`paired`; `composites` and `masks` name them.

    Raises:
        HarmonyError: there is no pair, or two masks have the same name.
    """
    there, found = in_composites, _masks(in_masks)
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
class Listing:
    """What a folder holds: files, with what is wrong with some of them, and sentences about the rest."""

    files: list[PurePath] = field(default_factory=list)
    problems: dict[PurePath, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)


@dataclass
class _Masks:
    by_stem: dict[str, PurePath]
    by_form: dict[str, list[PurePath]]
    problems: dict[PurePath, str]
    passed_over: list[str]
    pictures: set[PurePath]
    others: set[PurePath]

    def of(self, composite: PurePath) -> PurePath | None:
        """The mask of a composite, by its stem; by its whole name where the suffix may be part of that."""
        stem, beginning = composite.stem, composite.stem.rpartition("_")[0]
        return self._named(stem) or (self._named(beginning) if beginning else None) or self._named(composite.name)

    def _named(self, stem: str) -> PurePath | None:
        alike = self.by_form.get(_form(stem), [])
        return self.by_stem.get(stem) or (alike[0] if len(alike) == 1 else None)


def _masks(there: Listing) -> _Masks:
    by_stem: dict[str, PurePath] = {}
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


def _is_picture(path: PurePath) -> bool:
    return path.suffix.lower() in SUFFIXES


def _kind(path: PurePath) -> str:
    return f"{path.suffix} is not the suffix of a picture" if path.suffix else "it has no suffix"


def listed(folder: Path) -> Listing:
    """What a folder of this machine holds, by name.

    Raises:
        HarmonyError: it cannot be listed.
    """
    found = Listing()
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


def output_names(pairing: Pairing, suffix: str | None) -> Iterator[tuple[Pair, str]]:
    """Each pair with the name of its output: the composite's, with a suffix that can be written, unlike all others.

    Args:
        pairing: the pairs.
        suffix: of all outputs; None keeps the composites' own where they can be written, and is ``.png`` elsewhere.
    """
    wanted = {pair: own_name(pair.composite, suffix) for pair in pairing.pairs}
    taken = {name for pair, name in wanted.items() if name == pair.composite.name}  # these keep their names
    for pair, name in wanted.items():
        if name != pair.composite.name:
            longer = pair.composite.name
            while name in taken:
                longer = name = longer + (suffix or ".png")
            taken.add(name)
        yield pair, name


def own_name(composite: PurePath, suffix: str | None) -> str:
    """The name of a composite's output, as :func:`output_names` gives it to one that nothing else wants."""
    own = composite.suffix
    if own.lower() not in SUFFIXES:  # none, or part of the name: v1.2
        return composite.name + (suffix or ".png")
    return composite.stem + (suffix or (own if own.lower() in WRITABLE else ".png"))
