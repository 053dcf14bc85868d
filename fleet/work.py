"""What a worker does with a pair: read, decode, harmonize, encode, write; and what it reports of that."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import platform
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from harmonyrt.common import HarmonyError, HarmonyWarning, WorkFailed
from harmonyrt.common.errors import error_of_pair
from harmonyrt.fleet import stores
from harmonyrt.fleet.budget import Budget
from harmonyrt.fleet.bundles import BundleSource
from harmonyrt.fleet.outcomes import BAD_INPUT, FAILED, STAGES, Result
from harmonyrt.fleet.rows import Row
from harmonyrt.runtime.images.encode import WRITABLE, save
from harmonyrt.runtime.images.inputs import Inputs, Reading, read_pair
from harmonyrt.runtime.images.pictures import read_picture_file


@dataclass(frozen=True)
class Settings:
    """What changes the outputs; the same for all pairs of a run.

    Attributes:
        reading: how pictures and masks are read.
        strength: as :meth:`harmonyrt.runtime.Harmonizer.harmonize` takes it.
        keep: likewise.
        diffusion: DiffHarmony's seed, sample and steps.
    """

    reading: Reading = field(default_factory=Reading)
    strength: float = 1.0
    keep: str | None = None
    diffusion: dict[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Settings that give equal outputs have equal hashes."""
        values = dataclasses.asdict(self)
        del values["reading"]["max_megapixels"]  # decides what is refused, and refused pairs are done again anyway
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Engine:
    """How a worker opens the bundle."""

    backend: str = "auto"
    device: str | None = None
    target: str | None = None
    threads: int | None = 1
    precision: str | None = None
    provider: str | None = None


@dataclass(frozen=True)
class HarmonizeJob:
    """A :class:`harmonyrt.fleet.loop.Job`: harmonize pairs into `out`, a folder or a prefix."""

    bundle: BundleSource
    out: str
    settings: Settings = field(default_factory=Settings)
    engine: Engine = field(default_factory=Engine)
    megapixels: float | None = None
    run: str = "run"

    @property
    def settings_sha256(self) -> str:
        """Equal for equal outputs of one bundle: of the settings, and of the precision if one was asked for."""
        if self.engine.precision is None:
            return self.settings.sha256
        return hashlib.sha256(f"{self.settings.sha256} {self.engine.precision}".encode()).hexdigest()

    def open(self) -> Callable[[Row], Result]:
        """Open the bundle; what is returned harmonizes a pair."""
        from harmonyrt.runtime.harmonizer import Harmonizer

        engine = self.engine
        harmonizer = Harmonizer.open(
            self.bundle.local(),
            backend=engine.backend,
            threads=engine.threads,
            device=engine.device,
            target=engine.target,
            precision=engine.precision,
            provider=engine.provider,
            megapixel_limit=self.settings.reading.max_megapixels,
        )
        return _Worker(self, harmonizer).do

    def lost(self, row: Row, deaths: int) -> Result:
        """The result of a pair that no worker survived."""
        return dataclasses.replace(
            self.blank(row),
            status=FAILED,
            sentence=f"{row.composite}: {deaths} workers died while they held this pair; most often memory ran out:"
            " scale it down, or give a lower --max-megapixels",
        )

    def blank(self, row: Row) -> Result:
        """What is known of a result before the work."""
        return Result(
            id=row.id,
            composite=str(row.composite),
            mask="" if row.mask is None else str(row.mask),
            background="" if row.background is None else str(row.background),
            placement=row.placement,
            bundle_sha256=self.bundle.sha256,
            settings_sha256=self.settings_sha256,
            machine=platform.node(),
            more=row.more,
        )


class _Worker:
    def __init__(self, job: HarmonizeJob, harmonizer: Any) -> None:
        self.job, self.harmonizer = job, harmonizer
        self.budget = Budget(job.run, job.megapixels)
        self.first = True

    def do(self, row: Row) -> Result:
        """Harmonize a pair; whatever goes wrong is in the result."""
        result = self.job.blank(row)
        result.first, self.first = self.first, False
        seconds = dict.fromkeys(STAGES, 0.0)
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", HarmonyWarning)
            try:
                notes = self._done(row, result, seconds)
                remarks = [str(one.message) for one in raised if issubclass(one.category, HarmonyWarning)]
                result.sentence = "; ".join(dict.fromkeys([*remarks, *notes]))
            except Exception as error:  # whatever it is, it is this pair's: the others are done all the same
                known = error_of_pair(error, row.composite)
                result.status = FAILED if known.exit_code == 1 else BAD_INPUT
                result.sentence = stores.without_secrets(" ".join(str(known).split()))
                result.output = result.output_sha256 = ""
        result.seconds = {stage: round(value, 5) for stage, value in seconds.items()}
        return result

    def _done(self, row: Row, result: Result, seconds: dict[str, float]) -> tuple[str, ...]:
        if row.problem:
            raise HarmonyError(row.problem)
        with _timed(seconds, "read"):
            data = {name: None if piece is None else piece.read() for name, piece in _pieces(row)}
            for name, content in data.items():
                if content is not None:
                    setattr(result, f"{name}_sha256", hashlib.sha256(content).hexdigest())
        target = stores.joined(self.job.out, row.output)
        _check_no_input(target, row)
        if row.earlier is not None and self._is_there(row, result, target):
            return ()
        with self.budget.held(_megapixels(data), lambda: _timed(seconds, "wait")):
            with _timed(seconds, "decode"):
                inputs = self._inputs(row, data)
            with _timed(seconds, "harmonize"):
                whole = self.harmonizer.harmonize_detailed(
                    inputs.picture,
                    _mask(inputs),
                    options=self._options(),
                    strength=self.job.settings.strength,
                    keep=self.job.settings.keep,
                )
            with _timed(seconds, "encode"):
                stream = io.BytesIO()
                more = save(whole.picture, stream, WRITABLE[PurePosixPath(row.output).suffix.lower()], row.output)
                encoded = stream.getvalue()
                digest = hashlib.sha256(encoded).hexdigest()
            result.height, result.width = inputs.mask.shape
        with _timed(seconds, "write"):
            stores.write(target, encoded)
        result.output, result.output_sha256 = row.output, digest
        return (*inputs.notes, *more)

    def _is_there(self, row: Row, result: Result, target: str) -> bool:
        """Whether an earlier run's output is there, whole, and made from the same bytes."""
        result.output = row.output
        if row.earlier is not None and result.fingerprint == row.earlier[0]:
            try:
                found = hashlib.sha256(stores.read(target))
            except WorkFailed:
                raise
            except HarmonyError:  # it is gone
                found = hashlib.sha256()
            if found.digest() == row.earlier[1]:
                result.output_sha256, result.kept = found.hexdigest(), True
                return True
        result.output = ""
        return False

    def _inputs(self, row: Row, data: dict[str, bytes | None]) -> Inputs:
        how, name = self.job.settings.reading, str(row.composite)
        if data["background"] is None:
            assert data["composite"] is not None
            return read_pair(data["composite"], data["mask"], how, name, None if row.mask is None else str(row.mask))
        from harmonyrt.runtime.images.compose import compose

        at, scale = _placement(row.placement)
        pictures = [
            read_picture_file(data[part] or b"", name=str(piece), max_megapixels=how.max_megapixels)
            for part, piece in (("composite", row.composite), ("background", row.background))
        ]
        composed = compose(pictures[0], pictures[1], at, scale, megapixel_limit=how.max_megapixels)
        notes = (*pictures[0].notes, *pictures[1].notes, *composed.notes)
        return Inputs(composed.composite, composed.mask.values, notes)

    def _options(self) -> Any:
        if self.harmonizer.info.model != "diffharmony":
            return None
        from harmonyrt.runtime.diffusion import RunOptions

        return RunOptions(**self.job.settings.diffusion)


def _pieces(row: Row) -> tuple[tuple[str, Any], ...]:
    return (("composite", row.composite), ("mask", row.mask), ("background", row.background))


def _check_no_input(target: str, row: Row) -> None:
    for _, piece in _pieces(row):
        if piece is not None and (piece.path == target or _same_file(piece.path, target)):
            raise HarmonyError(
                f"the output {stores.without_secrets(target)} is an input of its pair; choose another output"
            )


def _same_file(one: str, other: str) -> bool:
    if stores.is_remote(one) or stores.is_remote(other) or not os.path.exists(other):
        return False
    return os.path.samefile(one, other)


def _mask(inputs: Inputs) -> Any:
    from harmonyrt.runtime.images.masks import MaskFile

    return MaskFile(inputs.mask)


def _megapixels(data: dict[str, bytes | None]) -> float:
    """How large the largest picture is, by its header; 0 where decoding will say what is wrong with it."""
    from PIL import Image

    largest = 0.0
    for content in data.values():
        if content is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    with Image.open(io.BytesIO(content)) as image:
                        largest = max(largest, image.width * image.height / 1e6)
                except Exception:
                    continue
    return largest


def _placement(text: str) -> tuple[tuple[int, int], float]:
    if not text.strip():
        return (0, 0), 1.0
    found = re.fullmatch(r"\s*([+-]?\d{1,9})\s*[,;x ]\s*([+-]?\d{1,9})\s*(?:[,; ]\s*(\d+(?:\.\d+)?)\s*)?", text)
    if found is None:
        raise HarmonyError(f"the placement {text} is no place; give x,y or x,y,scale, for example 120,40,0.5")
    return (int(found[1]), int(found[2])), float(found[3] or 1)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] += time.perf_counter() - started
