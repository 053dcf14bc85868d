"""Writes a model repository: every model's folder whole, or none."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import make_folder
from harmonyrt.runtime.bundle import Bundle, open_bundle
from harmonyrt.runtime.choices import BACKENDS, check_precision
from harmonyrt.runtime.manifest import FILE_NAME
from harmonyrt.serving.triton.models import (
    BUNDLE,
    TARGETS,
    VERSION,
    Placing,
    TritonModel,
    engine_models,
    files_of,
    harmonizing_model,
    is_plain_name,
)
from harmonyrt.serving.triton.text import written

_CONFIG = "config.pbtxt"


def write_repository(
    bundles: Sequence[Path],
    output: Path,
    placing: Placing,
    *,
    targets: Sequence[str] = TARGETS,
    harmonize: bool = True,
    engines: bool = True,
    force: bool = False,
    note: Callable[[str], None] = lambda sentence: None,
) -> list[Path]:
    """Write bundles as models of a Triton repository.

    Args:
        bundles: folders that `harmonyrt build` wrote.
        output: the repository. Other models that it holds are left alone.
        placing: where the models run.
        targets: which engines to write for Triton's own backends.
        harmonize: write the models that take pictures of any size.
        engines: write the engines.
        force: replace models of the same names.
        note: told what is left out, and why.

    Returns:
        The models' folders.

    Raises:
        HarmonyError: no bundle, a damaged one, two of one name, nothing to write, or a place that is taken.
    """
    if placing.backend not in ("auto", *BACKENDS):
        raise HarmonyError(f"backend {placing.backend!r} is not known; give auto or one of {', '.join(BACKENDS)}")
    check_precision(placing.precision)
    models: list[tuple[Bundle, TritonModel]] = []
    for path in bundles:
        bundle = open_bundle(path)
        name = path.resolve().name
        if not is_plain_name(name):
            raise HarmonyError(f"{name!r} cannot be a model's name in Triton; rename the bundle's folder")
        found = list(engine_models(name, bundle, tuple(targets), placing)) if engines else []
        own = [one for one in found if isinstance(one, TritonModel)]
        if harmonize:
            own.append(harmonizing_model(name, bundle, placing))
        if not own:
            reasons = "; ".join(one for one in found if isinstance(one, str))
            has = ", ".join(sorted({engine.target for engine in bundle.manifest.engines}))
            raise HarmonyError(f"there is nothing to write of {path}: it has {has}{reasons and '; '}{reasons}")
        for sentence in (one for one in found if isinstance(one, str)):
            note(sentence)
        models += [(bundle, model) for model in own]
    _check_names([model.name for _, model in models], output, force)
    with _scratch(output) as folder:
        for bundle, model in models:
            _write_model(folder / model.name, bundle, model)
        _move_in(folder, output, [model.name for _, model in models])
    return [output / model.name for _, model in models]


def _check_names(names: list[str], output: Path, force: bool) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise HarmonyError(f"two models would be named {twice}; rename the folder of one of the bundles")
    if os.path.lexists(output) and not output.is_dir():
        raise HarmonyError(f"{output} is no folder; give one with --output")
    taken = [name for name in names if os.path.lexists(output / name)]
    if taken and not force:
        raise HarmonyError(f"{output / taken[0]} is there already; choose another output, or pass --force")
    for name in taken:
        if not (output / name / _CONFIG).is_file() or (output / name).is_symlink():
            raise HarmonyError(f"{output / name} is no model of Triton's; move it away, or choose another output")


def _write_model(folder: Path, bundle: Bundle, model: TritonModel) -> None:
    for engine in model.engines:
        bundle.verified_file(engine)
    for source, target in files_of(model):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / source, folder / target)
    if model.below == BUNDLE:
        shutil.copyfile(bundle.path / FILE_NAME, folder / VERSION / BUNDLE / FILE_NAME)
        for engine in model.engines:  # the copy, which Triton's machine will open
            Bundle(folder / VERSION / BUNDLE, bundle.manifest).verified_file(engine)
    for name, data in model.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / _CONFIG).write_text(written(model.config), encoding="utf-8")


@contextlib.contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """A folder on the disk of the output: next to a new one, inside an old one, which may be a mount point."""
    parent = output if output.is_dir() else output.parent
    new = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    make_folder(parent, "give another folder with --output")
    scratch = parent / f".{output.name[:16]}.partial-{secrets.token_hex(4)}"  # mkdtemp's would be private
    try:
        scratch.mkdir()
    except OSError as error:
        raise HarmonyError(f"cannot write into {parent}: {error.strerror}; give another folder with --output") from None
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for folder in new:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _move_in(scratch: Path, output: Path, names: list[str]) -> None:
    """The whole repository in one rename; into an existing one, model by model, and all back when one fails."""
    if not output.exists():
        os.rename(scratch, output)
        return
    old = scratch / "old"
    old.mkdir()
    moved: list[str] = []
    try:
        for name in names:
            if (output / name).exists():
                os.rename(output / name, old / name)
            moved.append(name)
            os.rename(scratch / name, output / name)
    except BaseException:
        for name in reversed(moved):
            if (output / name).exists():
                os.rename(output / name, scratch / name)
            if (old / name).exists():
                os.rename(old / name, output / name)
        raise
