"""Writing a bundle: into a scratch folder next to its place, under a lock, and there in one rename when it is complete.

A build that is killed at any moment leaves a scratch folder without a manifest's place: nothing that opens. The next
build of the same bundle finds it, knows by the lock that its builder is dead, and removes it.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import make_folder, sha256_of
from harmonyrt.export.targets import Progress
from harmonyrt.runtime.manifest import FILE_NAME, FileSpec, Manifest

try:
    import fcntl
except ImportError:  # Windows: two builds of one bundle at the same time are the user's own care there
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def bundle_being_written(place: Path, progress: Progress, mark: str = FILE_NAME) -> Iterator[Path]:
    """Yield an empty scratch folder; when the block ends well and wrote a manifest there, it becomes `place`.

    Args:
        place: folder of the bundle; an older bundle there is replaced whole.
        progress: told when another build of the same bundle is waited for.
        mark: name of the manifest; another one for folders that are no bundles.

    Raises:
        HarmonyError: `place` cannot be written, or holds something that is not a bundle.
    """
    check_place(place, mark)
    place = _behind_links(place)
    with _made_folder(place.parent), _locked(place, progress):
        _clean(place)
        scratch = Path(tempfile.mkdtemp(prefix=f".{place.name}.building-", dir=place.parent))
        try:
            yield scratch
            if (scratch / mark).is_file():
                _flush(scratch)
                _move_in(scratch, place)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise WorkFailed(
                f"cannot write {place}: {error.strerror}; free some space or give another folder with --output"
            ) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def check_place(place: Path, mark: str = FILE_NAME) -> None:
    """Refuse a place that cannot take a bundle, before any work is done.

    Raises:
        HarmonyError: the output is a file, cannot be written, or the bundle's folder holds something else, is a mount
            point (no rename replaces it) or a link that leads nowhere.
    """
    place = _behind_links(place)
    if _is_mount(place):
        raise HarmonyError(
            f"{place} is a mount point, which a build cannot replace as a whole;"
            f" mount {place.parent} instead, or give another folder with --output and copy the bundle"
        )
    output = place.parent
    if output.exists() and not output.is_dir():
        raise HarmonyError(f"{output} is a file; give a folder with --output")
    if place.exists() and not (place.is_dir() and (not any(place.iterdir()) or (place / mark).is_file())):
        what = "a bundle" if mark == FILE_NAME else f"a folder with {mark}"
        raise HarmonyError(f"{place} exists and is not {what}; move it away or give another folder with --output")
    with _made_folder(output):
        _try_to_write(output)


def _behind_links(place: Path) -> Path:
    """Where a bundle really lies: a link to it stays, and what it leads to is replaced.

    Raises:
        HarmonyError: a link that leads nowhere, perhaps to a volume that is not mounted.
    """
    if not place.is_symlink():
        return place
    try:
        return place.resolve(strict=True)
    except (OSError, RuntimeError):  # a loop is a RuntimeError before Python 3.13
        target = os.readlink(place)
        raise HarmonyError(
            f"{place} is a link to {target}, which is not there; mount or make that folder, or remove the link"
        ) from None


def _is_mount(place: Path) -> bool:
    """Also of a folder of the same file system, as containers mount them: only the list in /proc knows those."""
    if os.path.ismount(place):
        return True
    try:
        rows = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    escaped = os.fsencode(os.path.realpath(place))
    for character in b"\\ \t\n":  # as proc(5) says; the backslash first
        escaped = escaped.replace(bytes([character]), b"\\%03o" % character)
    return any(len(fields) > 4 and fields[4] == escaped for fields in map(bytes.split, rows))


@contextlib.contextmanager
def _made_folder(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; those that were new and are still empty afterwards are taken away again."""
    new = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    make_folder(folder, "give another folder with --output")
    try:
        yield
    finally:
        for parent in new:
            with contextlib.suppress(OSError):
                parent.rmdir()


def _try_to_write(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise HarmonyError(f"cannot write into {folder}: {error.strerror}; give another folder with --output") from None


@contextlib.contextmanager
def _locked(place: Path, progress: Progress) -> Iterator[None]:
    """Hold the bundle's lock file; it is removed with the lock, so that an output folder stays tidy."""
    path = place.parent / f".{place.name}.lock"
    if fcntl is None:
        yield
        return
    told = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                progress(f"waiting for another build of {place.name} to end", None)
                told = True
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            os.close(handle)
            yield
            return
        if _is_still(path, handle):
            break
        os.close(handle)  # the one who held it has removed the file meanwhile: take the new one
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _clean(place: Path) -> None:
    """Under the lock: bring back a bundle that a killed build had moved aside, and remove what such builds left."""
    for aside in place.parent.glob(f".{glob.escape(place.name)}.replaced-*"):
        if place.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(place)
    for stale in place.parent.glob(f".{glob.escape(place.name)}.building-*"):
        shutil.rmtree(stale, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Have the disk hold every file before the rename says so."""
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)  # mkdtemp made it private
    for path in folder.rglob("*"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _move_in(scratch: Path, place: Path) -> None:
    if not place.exists():
        scratch.rename(place)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.replaced-", dir=place.parent))
    place.rename(aside)
    scratch.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


def file_spec(folder: Path, name: str) -> FileSpec:
    """What the manifest says of a file in `folder`."""
    path = folder / name
    return FileSpec(name, sha256_of(path), path.stat().st_size)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`; last, since it is what makes the folder a bundle."""
    (folder / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
