"""A bundle for many machines: known by the hash of its manifest, fetched once to each, checked before it is used."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import make_folder, sha256_of
from harmonyrt.fleet import stores
from harmonyrt.runtime.compiled_cache import user_folder
from harmonyrt.runtime.manifest import FILE_NAME, FileSpec, Manifest

try:
    import fcntl
except ImportError:  # Windows: two processes may fetch the same bundle, and either's is whole
    fcntl = None  # type: ignore[assignment]

FOLDER_VARIABLE = "HARMONYRT_BUNDLES"
"""Where bundles are kept, if not in the user's cache."""
MOST_BYTES = 16 << 30
"""Of all bundles in the cache; those used longest ago go first."""


@dataclass(frozen=True)
class BundleSource:
    """Where a bundle comes from.

    Attributes:
        path: a folder, or a prefix of a store.
        sha256: of its manifest, which names the hash of every other file.
        files: those files.
        content: gives a file's bytes where `path` is not seen: on another machine of a Ray cluster.
    """

    path: str
    sha256: str
    files: tuple[FileSpec, ...]
    content: Callable[[str], bytes] | None = None

    @property
    def names(self) -> list[str]:
        """All files, the manifest last."""
        return [*dict.fromkeys(file.path for file in self.files), FILE_NAME]

    def with_content(self, content: Callable[[str], bytes]) -> BundleSource:
        """The same, for machines that do not see its path."""
        return replace(self, content=content)

    def read(self, name: str) -> bytes:
        """One file's bytes."""
        return self.content(name) if self.content is not None else stores.read(stores.joined(self.path, name))

    def local(self) -> Path:
        """A folder of this machine with this very bundle: its own, or one in the cache, fetched now if need be.

        Raises:
            HarmonyError: it cannot be fetched, or is not what its manifest says.
        """
        if not stores.is_remote(self.path):
            own = Path(self.path) / FILE_NAME
            with contextlib.suppress(OSError):
                if hashlib.sha256(own.read_bytes()).hexdigest() == self.sha256:
                    return Path(self.path)
        return self._cached()

    def _cached(self) -> Path:
        home = _home()
        folder = home / self.sha256
        with _locked(home / f".{self.sha256}.lock"):
            if not (folder / FILE_NAME).is_file():
                self._fetch(folder)
                _evict(home, folder)
            with contextlib.suppress(OSError):
                os.utime(folder)
        return folder

    def _fetch(self, folder: Path) -> None:
        scratch = Path(tempfile.mkdtemp(prefix=f".{self.sha256[:16]}.", dir=folder.parent))
        try:
            for name in self.names:
                path = scratch / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.read(name))
            self._check(scratch)
            shutil.rmtree(folder, ignore_errors=True)
            scratch.replace(folder)
        except OSError as error:
            raise WorkFailed(f"the bundle cannot be kept in {folder} ({error.strerror}); make room there") from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _check(self, folder: Path) -> None:
        hashes = {**{file.path: file.sha256 for file in self.files}, FILE_NAME: self.sha256}
        for name, wanted in hashes.items():
            found = sha256_of(folder / name)
            if found != wanted:
                where = stores.without_secrets(stores.joined(self.path, name))
                raise HarmonyError(
                    f"{where} was altered: found sha256 {found[:12]}…, need {wanted[:12]}…; upload the bundle again"
                )


def bundle_source(path: str) -> BundleSource:
    """Read the manifest of a bundle, wherever it lies.

    Raises:
        HarmonyError: there is none, or it cannot be read.
    """
    where = stores.joined(path, FILE_NAME)
    shown = stores.without_secrets(where)
    if not stores.is_remote(path):
        from harmonyrt.runtime.bundle import open_bundle

        open_bundle(path)  # whose sentences say more about folders
        path = str(Path(path).resolve())
        where = stores.joined(path, FILE_NAME)
    text = stores.read(where)
    try:
        manifest = Manifest.from_json(text.decode("utf-8"), shown)
    except UnicodeDecodeError:
        raise HarmonyError(f"{shown} is no manifest of a bundle; upload the bundle again") from None
    files = tuple(file for engine in manifest.engines for file in engine.files)
    return BundleSource(path, hashlib.sha256(text).hexdigest(), files)


def _home() -> Path:
    given = os.environ.get(FOLDER_VARIABLE)
    user = user_folder()
    home = Path(given) if given else (user or Path(tempfile.gettempdir()) / f"harmonyrt-{os.getuid()}") / "bundles"
    make_folder(home, f"set {FOLDER_VARIABLE} to a folder that can be written")
    home.chmod(0o700)
    return home


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _evict(home: Path, keep: Path) -> None:
    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    with contextlib.suppress(OSError):
        folders = [path for path in home.iterdir() if path.is_dir() and not path.name.startswith(".")]
        folders.sort(key=lambda path: path.stat().st_mtime)
        total = sum(size(path) for path in folders)
        for path in folders:
            if total <= MOST_BYTES:
                return
            if path != keep:
                total -= size(path)
                shutil.rmtree(path, ignore_errors=True)
