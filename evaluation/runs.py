"""One bundle under one named protocol: opened, run over pairs, in this process or in several, row by row.

run = Run("engines/phnet-256-fp32", protocol="phnet")
with opened(run) as system:
    rows = [system.row(pair, None) for pair in read_split("iHarmony4")]
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.evaluation import paper_protocols
from harmonyrt.evaluation.iharmony4 import PICTURE_SUFFIXES, Pair
from harmonyrt.evaluation.metrics import Peak, Score
from harmonyrt.evaluation.protocol import Case, harmonized_case, read_picture

PROTOCOLS = {
    "harmonyrt": "pictures at 256 px (--size), masks cut at 0.5, the runtime as users call it",
    "phnet": "PHNet's validation: all at the engine's size, binary masks, the blend scored in floats",
    "phnet-test": "PHNet's test script: dithered mask, bicubic back to the file's size, bytes cut off",
    "phnet-test-antialias": "the same with the antialiased bicubic of torchvision 0.17 and later",
    "diffharmony": "DiffHarmony's paper: network at its size from the files, scored at the refiner's size",
    "diffharmony-strict": "its --strict_mode: the network's input is made from the composite at the refiner's size",
}
"""Name -> what it does, in a line. docs/evaluation.md has the steps."""
PEAKS: dict[str, Peak] = {"255": 255.0, "phnet": None, "range": "range"}
"""Names of the PSNR's peaks on the command line."""


@dataclass(frozen=True)
class Run:
    """What is run, and how; it says nothing about the data.

    Attributes:
        bundle: folder of a bundle; with `results` only a label.
        protocol: of :data:`PROTOCOLS`.
        size: side of the square at which pictures are compared; 0 keeps their own; None is the protocol's choice.
        peak: of :data:`PEAKS`; None is the protocol's choice.
        ssim: measure SSIM too.
        refiner: False leaves DiffHarmony's refiner out; True demands one; None takes what the bundle has.
        seeds: of DiffHarmony's noise, each one pass over the data; empty: one pass with the default.
        results: folder of pictures that something else made, named as the composites; they are scored as they are.
        backend: as :meth:`harmonyrt.runtime.Harmonizer.open` takes it; likewise the next two.
        device: see there.
        threads: see there.
        precision: see there.
        provider: see there.
    """

    bundle: str
    protocol: str = "harmonyrt"
    size: int | None = None
    peak: str | None = None
    ssim: bool = False
    refiner: bool | None = None
    seeds: tuple[int, ...] = ()
    results: str | None = None
    backend: str = "auto"
    device: str | None = None
    threads: int | None = None
    precision: str | None = None
    provider: str | None = None

    @property
    def peak_name(self) -> str:
        """The peak of this run's PSNR, of :data:`PEAKS`."""
        return self.peak or ("phnet" if self.protocol.startswith("phnet") else "255")

    @property
    def passes(self) -> tuple[int | None, ...]:
        """The seed of each pass over the data."""
        return self.seeds or (None,)


@dataclass(frozen=True)
class About:
    """What was opened.

    Attributes:
        model: family, or ``"results"`` for pictures that something else made.
        precision: of the engine.
        backend: what ran it.
        inference: (height, width) at which the network works, or None where it follows the picture.
        size: side or (height, width) at which pictures are compared, or None: their own.
        refined: whether DiffHarmony's refiner ran; None for other models.
        setup: of PHNet: which decoder stages have PN blocks, and whether there is a PFE, in the words of table 1.
    """

    model: str
    precision: str = ""
    backend: str = ""
    inference: tuple[int, int] | None = None
    size: int | tuple[int, int] | None = None
    refined: bool | None = None
    setup: str = ""


@dataclass(frozen=True)
class Row:
    """Scores of one pair in one pass: of the composite, and of the result."""

    name: str
    subset: str
    seed: int | None
    before: Score
    after: Score


@dataclass(frozen=True)
class Opened:
    """A run that is ready."""

    run: Run
    about: About
    case: Callable[[Pair, int | None], Case] = field(repr=False)

    def row(self, pair: Pair, seed: int | None) -> Row:
        """Run and score one pair.

        Raises:
            HarmonyError: a picture of the pair cannot be used.
        """
        before, after = self.case(pair, seed).scores(PEAKS[self.run.peak_name], self.run.ssim)
        return Row(pair.name, pair.subset, seed, before, after)


@contextlib.contextmanager
def opened(run: Run) -> Iterator[Opened]:
    """Open what a run needs.

    Raises:
        HarmonyError: an unknown protocol, or a bundle that cannot run here or under this protocol.
    """
    if run.protocol not in PROTOCOLS:
        raise HarmonyError(f"there is no protocol {run.protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    if run.results is not None:
        yield _of_results(run, Path(run.results))
        return
    from harmonyrt.runtime.bundle import open_bundle

    manifest = open_bundle(run.bundle).manifest
    family = manifest.model.family
    for wanted in ("phnet", "diffharmony"):
        if run.protocol.startswith(wanted) and family != wanted:
            raise HarmonyError(
                f"{run.bundle} holds a {family}, and the protocol {run.protocol} is for {wanted}; choose another"
            )
    if family != "diffharmony":
        if run.seeds:
            raise HarmonyError(f"{run.bundle} holds a {family}, whose result no seed changes; leave --seeds out")
        if run.refiner is not None:
            raise HarmonyError(f"{run.bundle} holds a {family}, which has no refiner; leave --refiner out")
    if run.protocol.startswith("diffharmony"):
        yield _of_diffharmony(run)
        return
    from harmonyrt.runtime import Harmonizer

    if run.refiner is not None:
        raise HarmonyError("--refiner is for the protocols diffharmony and diffharmony-strict; choose one of them")
    where = (run.backend, run.threads, run.device)
    with Harmonizer.open(run.bundle, *where, precision=run.precision, provider=run.provider) as harmonizer:
        yield (_of_phnet if run.protocol.startswith("phnet") else _of_harmonizer)(run, harmonizer, manifest)


def _of_harmonizer(run: Run, harmonizer: Any, manifest: Any) -> Opened:
    from harmonyrt.runtime.diffusion import RunOptions

    size = 256 if run.size is None else run.size or None

    def case(pair: Pair, seed: int | None) -> Case:
        options = {} if seed is None else {"options": RunOptions(seed=seed)}
        return harmonized_case(lambda *picture: harmonizer.harmonize(*picture, **options), pair, size)

    info = harmonizer.info
    about = About(info.model, info.precision, info.backend, manifest.size, size, setup=setup_of(info.config))
    return Opened(run, about, case)


def _of_phnet(run: Run, harmonizer: Any, manifest: Any) -> Opened:
    size = manifest.size
    if size is None:
        side = run.size or manifest.working_size
        if side % manifest.size_multiple:
            multiple = manifest.size_multiple
            raise HarmonyError(f"--size {side} does not fit {run.bundle}; give a multiple of {multiple}")
        size = (side, side)
    elif run.size is not None and size != (run.size, run.size):
        raise HarmonyError(f"the engine of {run.bundle} takes {size[0]}x{size[1]}; leave --size out, or build another")
    batch = manifest.batch or 1

    def network(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        both = (np.repeat(one, batch, axis=0) for one in (image, mask))  # an engine of a fixed batch is fed whole
        return harmonizer.run_tensor(*both)[:1]

    def case(pair: Pair, seed: int | None) -> Case:
        if run.protocol == "phnet":
            return paper_protocols.phnet(network, pair, size)
        return paper_protocols.phnet_test(network, pair, size, run.protocol.endswith("antialias"))

    info, compared = harmonizer.info, size if run.protocol == "phnet" else None
    about = About(info.model, info.precision, info.backend, size, compared, setup=setup_of(info.config))
    return Opened(run, about, case)


def setup_of(config: dict[str, Any]) -> str:
    """A PHNet's configuration in the words of the paper's table 1, for example ``"D4,5,6 + PFE"``.

    A released network's last PN block belongs to a stage that does not exist (docs/phnet.md); the paper's variant has
    none of those.
    """
    if "grid_count" not in config:
        return ""
    blocks = len(config["grid_count"]) - (config.get("variant", "released") != "paper")
    stages = ",".join(str(stage) for stage in range(7 - blocks, 7))
    return (f"D{stages}" if stages else "no PN") + (" + PFE" if config.get("extractor", True) else "")


def _of_diffharmony(run: Run) -> Opened:
    from harmonyrt.runtime.backends import SessionOptions
    from harmonyrt.runtime.bundle import open_bundle
    from harmonyrt.runtime.diffusion import DiffusionModel, RunOptions

    options = SessionOptions(run.threads, run.device)
    model = DiffusionModel.open(open_bundle(run.bundle), run.backend, None, options, run.precision)
    schedule = model.schedule
    refines = bool(schedule.refiner_channels) and run.refiner is not False
    if run.refiner and not refines:
        raise HarmonyError(f"{run.bundle} has no refiner; build it with one, or leave --refiner out")
    side = run.size or paper_protocols.DIFFHARMONY_SIZE
    output = schedule.output_size if schedule.refiner_channels else (side, side)
    if run.size is not None and output != (run.size, run.size):
        raise HarmonyError(f"the refiner of {run.bundle} gives {output[0]}x{output[1]}; leave --size out")
    if schedule.refiner_channels and not refines:
        plain = replace(schedule, refiner_channels=0, output_size=schedule.inference_size)
        model = DiffusionModel(plain, model.sessions, model.selected)

    def case(pair: Pair, seed: int | None) -> Case:
        def network(
            image: np.ndarray, mask: np.ndarray, small_image: np.ndarray | None, small_mask: np.ndarray | None
        ) -> np.ndarray:
            return model.run(image, mask, small_image, small_mask, RunOptions(seed=seed or 0))

        return paper_protocols.diffharmony(
            network,
            pair,
            schedule.inference_size,
            output,
            refines,
            run.protocol.endswith("strict"),
        )

    precision = model.selected["unet"].choice.engine.precision
    about = About("diffharmony", precision, model.backend, schedule.inference_size, output, refines)
    return Opened(run, about, case)


def _of_results(run: Run, folder: Path) -> Opened:
    if run.protocol != "harmonyrt" or run.seeds or run.refiner is not None:
        raise HarmonyError("--results scores pictures as they are; leave --protocol, --seeds and --refiner out")
    if not folder.is_dir():
        raise HarmonyError(f"{folder} is not a folder; give one of pictures that are named as the composites")
    size = 256 if run.size is None else run.size or None
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICTURE_SUFFIXES:
            found.setdefault(path.stem, []).append(path)

    def case(pair: Pair, seed: int | None) -> Case:
        path = _result(folder, found.get(pair.name, []), pair)
        done = read_picture(path, size)
        return harmonized_case(lambda composite, mask: _of_shape(done, composite, path), pair, size)

    return Opened(run, About("results", size=size), case)


def _result(folder: Path, paths: list[Path], pair: Pair) -> Path:
    """The one picture of a composite; of several of its name the one in a folder that is named as its subset."""
    if not paths:
        raise HarmonyError(f"{folder} has no picture for the composite {pair.name}; complete it")
    if len(paths) > 1:
        paths = [path for path in paths if pair.subset in path.relative_to(folder).parts[:-1]]
        if len(paths) != 1:
            what = f"{folder} has several pictures named {pair.name}"
            raise HarmonyError(f"{what}; keep one of them in a folder named {pair.subset}")
    return paths[0]


def _of_shape(done: np.ndarray, composite: np.ndarray, path: Path) -> np.ndarray:
    if done.shape != composite.shape:
        sizes = f"{done.shape[1]}x{done.shape[0]}, its composite {composite.shape[1]}x{composite.shape[0]}"
        raise HarmonyError(f"{path} is {sizes}; give a --size to which both are resized")
    return done
