"""The work of one request, from the bytes of files to the bytes of a file, in a thread of the engine room."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from harmonyrt.common import HarmonyError, HarmonyNote
from harmonyrt.common.errors import Cancelled
from harmonyrt.runtime.caller import Sentence, heard
from harmonyrt.runtime.images.encode import LAYERED, WRITABLE, save
from harmonyrt.runtime.images.inputs import Inputs, Placing, Reading, read_composed, read_pair, with_match
from harmonyrt.runtime.images.masks import MaskFile
from harmonyrt.runtime.images.opening import megapixels_of
from harmonyrt.serving.models import Model
from harmonyrt.serving.requests import HarmonizeRequest

MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
}
_NAMES = {"foreground": "the cut-out"}
Progress = Callable[[str, int, int], None]


@dataclass
class Run:
    """How far a request has come; the event loop asks it to stop, its thread looks before each stage.

    Attributes:
        stopped: nobody waits for the answer any more.
        seconds: by stage.
        progress: told where a run takes long; called in the run's thread.
    """

    stopped: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    progress: Progress | None = None

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; not begun when the run is to stop.

        Raises:
            Cancelled: it is to stop.
        """
        if self.stopped:
            raise Cancelled("the request was cancelled before its turn")
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def show(self, name: str, done: int, total: int) -> bool:
        """Progress of a diffusion model; False stops it."""
        if self.progress is not None:
            self.progress(name, done, total)
        return not self.stopped


@dataclass(frozen=True)
class Answer:
    """The bytes of a file, and what there is to say about them.

    Attributes:
        body: the file.
        media_type: its type.
        sentences: what the command line would say on stderr: "note: …", "warning: …", in its order.
    """

    body: bytes
    media_type: str
    sentences: tuple[str, ...]


def name_of(field_name: str) -> str:
    """How messages name the picture of a field."""
    return _NAMES.get(field_name, f"the {field_name}")


def weigh(asked: HarmonizeRequest, max_megapixels: float) -> float:
    """Megapixels that a request will hold, from the headers of its pictures.

    Raises:
        HarmonyError: one is no picture, or too large.
    """
    return sum(megapixels_of(data, name_of(name), max_megapixels) for name, data in asked.pictures.items())


def harmonize(model: Model, asked: HarmonizeRequest, max_megapixels: float, run: Run) -> Answer:
    """Read the pictures, run the model, write the answer.

    Raises:
        HarmonyError: pictures that cannot be used, or an engine that failed.
        Cancelled: the run was stopped.
    """
    with heard() as heard_sentences:
        with run.stage("decode"):
            inputs = _inputs(asked, max_megapixels)
        with run.stage("engine"):
            options = _run_options(model, asked, run)
            result = model.run(
                "harmonize_detailed",
                inputs.picture,
                MaskFile(inputs.mask),
                fit_mask=asked.fit_mask,
                options=options,
                strength=asked.strength,
                keep=asked.keep,
                match=inputs.match,
            )
        timings = model.harmonizer.timings  # of this thread's last call
        run.seconds |= {"fit": timings.fit, "engine": timings.engine, "upsample": timings.carry_back}
        with run.stage("encode"):
            body, media_type, more = _written(result, inputs, asked)
    sentences = said(heard_sentences)
    sentences += [*model.notes, *(f"note: {note}" for note in (*inputs.notes, *more))]
    return Answer(body, media_type, tuple(sentences))


def said(heard_sentences: list[Sentence]) -> list[str]:
    """What the runtime warned about, as the command line says it; once, though a second try warns again."""
    once = dict.fromkeys(heard_sentences)
    return [f"{'note' if issubclass(kind, HarmonyNote) else 'warning'}: {text}" for text, kind in once]


def _inputs(asked: HarmonizeRequest, max_megapixels: float) -> Inputs:
    files = asked.pictures
    how = Reading(asked.fit_mask, asked.invert_mask, asked.label or None, max_megapixels)
    if "background" in files:
        first, placing = name_of("foreground"), Placing(asked.at, asked.scale, asked.premultiplied)
        inputs = read_composed(files["foreground"], files["background"], placing, how, first, name_of("background"))
    else:
        first = name_of("composite")
        inputs = read_pair(files["composite"], files.get("mask"), how, first, name_of("mask"))
    if "match" in files:
        inputs = with_match(inputs, files["match"], how, name_of("match"), first)
    return inputs


def _run_options(model: Model, asked: HarmonizeRequest, run: Run) -> Any:
    if not model.is_diffusion:
        if asked.diffusion:
            given = ", ".join(asked.diffusion)
            family = model.manifest.model.family
            raise HarmonyError(f"{given} is for diffharmony and {model.name} holds {family}; leave it out")
        return None
    from harmonyrt.runtime.diffusion import RunOptions

    return RunOptions(**asked.diffusion, progress=run.show)


def _written(result: Any, inputs: Inputs, asked: HarmonizeRequest) -> tuple[bytes, str, list[str]]:
    stream = io.BytesIO()
    if asked.output == "lut":
        return result.lut().text().encode(), "text/plain; charset=utf-8", []
    own = inputs.picture.file_format
    written = WRITABLE[asked.format] if asked.format else own if own in MEDIA_TYPES else "PNG"
    picture, notes = result.picture, []
    if asked.output == "layer":
        if written not in LAYERED:
            if asked.format:
                raise HarmonyError(f"{written} has no transparency for a layer; choose png, tif or webp")
            written = "PNG"
        layer = result.layer()
        picture = layer.picture
        if layer.beyond:
            notes.append(
                f"the change leaves the range of colours in {layer.beyond} pixels of the soft edge, where the layer"
                " over the composite differs from the harmonized picture by more than a level"
            )
    notes += save(picture, stream, written, "the output", asked.quality)
    return stream.getvalue(), MEDIA_TYPES[written], notes
