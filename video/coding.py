"""Which encoder writes a clip, and in which pixel format: the shot's own where nothing else is asked for."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.video.av_library import library
from harmonyrt.video.reading import VideoInfo

# Encoders by the shot's codec; one without a line here is written by the encoder of its own name, if there is one.
_ENCODERS = {
    "h264": "libx264",
    "hevc": "libx265",
    "vp8": "libvpx-vp9",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "prores": "prores_ks",
}
_FALLBACKS = ("libx264", "libvpx-vp9", "ffv1", "mpeg4")
_CRF = {"libx264": 18, "libx265": 20, "libvpx-vp9": 24, "libsvtav1": 24, "libx264rgb": 18}
_PRESETS = {"libx264", "libx264rgb", "libx265", "libsvtav1"}
_PRORES_PROFILES = {"apco": "0", "apcs": "1", "apcn": "2", "apch": "3", "ap4h": "4", "ap4x": "5"}
_ANY_TIMES_BUT = {"mpeg1video": 0, "mpeg2video": 0} | dict.fromkeys(("mpeg4", "msmpeg4", "msmpeg4v2", "h263p"), 65535)
"""Encoders that take no time stamps of any base: MPEG-1 and 2 count frames of a rate, and MPEG-4 has 16 bits for it."""
_WHOLE_CHROMA = {"libx264", "libx265"}
"""Encoders that refuse a size of which halved chroma would cover half a pixel too much."""
_HEADER_REFUSES = {"mov": {"libvpx", "libvpx-vp9", "libsvtav1", "libaom-av1", "librav1e"}}
"""What a container takes as a stream, and then will not write the header of: FFmpeg leaves VP9 and AV1 to MP4."""
_FIELDS = {"libx264", "mpeg2video", "mpeg4", "prores_ks"}
_ALPHA_NEEDS_OPTION = {"libvpx-vp9": {"auto-alt-ref": "0"}}


@dataclass(frozen=True)
class Coding:
    """How the harmonized clip is encoded; None where the shot decides.

    Attributes:
        codec: FFmpeg's name of an encoder ("libx264", "prores_ks", "ffv1").
        crf: quality of encoders that have such a scale; smaller is better.
        preset: of the encoder.
        pix_fmt: FFmpeg's name; where it is not the shot's, every frame is converted.
        options: more options of the encoder, by name.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """An encoder, ready to be opened.

    Attributes:
        encoder: its name.
        pix_fmt: of the frames it gets.
        options: by name.
        notes: sentences for the user.
    """

    encoder: str
    pix_fmt: str
    options: dict[str, str]
    notes: tuple[str, ...]


def choose(coding: Coding, info: VideoInfo, pix_fmt: str, container: Any) -> Chosen:
    """Choose an encoder.

    Args:
        coding: what is asked for.
        info: of the shot.
        pix_fmt: of the harmonized frames.
        container: an open output.

    Raises:
        HarmonyError: an encoder that is not there, that the container does not take, or that does not take the format.
    """
    encoder = coding.codec or _default(info, pix_fmt, container)
    codec = _found(encoder)
    if coding.codec is not None and not takes(container.format.name, encoder):
        raise HarmonyError(f"a {container.format.name} file holds no {encoder}; choose another --codec or suffix")
    formats = [f.name for f in codec.video_formats or ()]
    wanted = coding.pix_fmt or pix_fmt
    notes = []
    size = ""
    if encoder in _WHOLE_CHROMA:
        fitting = [name for name in formats if _divides(name, info.width, info.height)]
        size = f" of {info.width}x{info.height}" if wanted in formats and wanted not in fitting else ""
        formats = fitting
    if formats and wanted not in formats:
        if coding.pix_fmt is not None:
            raise HarmonyError(f"{encoder} does not take {wanted}{size}; it takes {', '.join(formats)}")
        wanted = _closest(formats, pix_fmt)
        notes.append(f"{encoder} takes no {pix_fmt}{size}: the frames are converted to {wanted}")
    elif wanted != pix_fmt:
        notes.append(f"the frames are converted from {pix_fmt} to {wanted}, outside the mask too")
    options = dict(_ALPHA_NEEDS_OPTION.get(encoder, {})) if "a" in wanted and wanted.startswith("yuva") else {}
    if encoder == "prores_ks" and coding.codec is None and info.tag in _PRORES_PROFILES:
        options["profile"] = _PRORES_PROFILES[info.tag]
    crf = coding.crf if coding.crf is not None else _CRF.get(encoder)
    if crf is not None:
        if encoder not in _CRF:
            raise HarmonyError(f"{encoder} has no quality scale for --crf; it is for {', '.join(sorted(_CRF))}")
        options["crf"] = f"{crf:g}"
    if coding.preset is not None:
        if encoder not in _PRESETS:
            raise HarmonyError(f"{encoder} has no presets; --preset is for {', '.join(sorted(_PRESETS))}")
        options["preset"] = coding.preset
    if encoder == "libx265":
        options["x265-params"] = "log-level=none"
    return Chosen(encoder, wanted, {**options, **coding.options}, tuple(notes))


def counts_frames(encoder: str, time_base: Fraction) -> bool:
    """Whether an encoder has to be given the numbers of the frames instead of their time stamps."""
    return time_base.denominator > _ANY_TIMES_BUT.get(encoder, time_base.denominator)


def keeps_fields(encoder: str) -> bool:
    """Whether an encoder can say that frames hold two fields."""
    return encoder in _FIELDS


def _found(encoder: str) -> Any:
    av = library()
    try:
        codec = av.Codec(encoder, "w")
    except (av.FFmpegError, ValueError):
        raise HarmonyError(
            f"there is no encoder {encoder} here; libx264, libx265, prores_ks and ffv1 are some"
        ) from None
    if codec.type != "video":
        raise HarmonyError(f"{encoder} encodes {codec.type}; give an encoder of pictures, such as libx264")
    return codec


def _default(info: VideoInfo, pix_fmt: str, container: Any) -> str:
    av = library()
    for encoder in (_ENCODERS.get(info.codec, info.codec), *_FALLBACKS):
        try:
            av.Codec(encoder, "w")
        except (av.FFmpegError, ValueError):
            continue
        if takes(container.format.name, encoder):
            return encoder
    raise HarmonyError(f"no encoder is known for a {container.format.name} file; name one with --codec")


def takes(form: str, encoder: str) -> bool:
    """Whether a container holds what an encoder makes. It is tried: of some, MPEG-TS for one, FFmpeg keeps no list."""
    form = form.split(",")[0]
    if encoder in _HEADER_REFUSES.get(form, ()):
        return False
    with library().open(io.BytesIO(), "w", format=form) as trial:
        try:
            trial.add_stream(encoder, rate=25)
        except ValueError:
            return False
    return True


def _divides(pix_fmt: str, width: int, height: int) -> bool:
    """Whether samples of chroma cover whole pixels of a frame of this size."""
    parts = library().VideoFormat(pix_fmt, 64, 64).components[:2]
    return width % (64 // parts[-1].width) == 0 and height % (64 // parts[-1].height) == 0


def _closest(formats: list[str], pix_fmt: str) -> str:
    """The format that loses least of another one."""
    from av.codec.codec import find_best_pix_fmt_of_list

    best, _ = find_best_pix_fmt_of_list(formats, pix_fmt, True)
    return formats[0] if best is None else best.name
