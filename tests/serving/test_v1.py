"""/v1/harmonize answers what harmonize() and the command line do, and says what they say."""

from __future__ import annotations

import base64
import io
import json
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image, ImageCms

from fakes.served import decoded, encoded, in_memory, made_pair
from harmonyrt.runtime import Harmonizer, read_picture_file


@pytest.fixture(scope="module")
def harmonizer(bundle):
    with Harmonizer.open(bundle, backend="onnxruntime", threads=1) as harmonizer:
        yield harmonizer


def post(client, files, headers=None, **fields):
    return client.post("/v1/harmonize", files=files, data=fields, headers=headers)


def sentences(answer, name="harmonyrt-note"):
    """What a browser makes of the header: joined by commas, each percent-encoded."""
    joined = answer.headers.get(name)
    return [] if joined is None else [unquote(part.strip()) for part in joined.split(",")]


def test_pixels_are_those_of_the_local_call(client, harmonizer, pair):
    answer = post(client, pair.files)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(decoded(answer.content), harmonizer.harmonize(pair.composite, pair.mask))
    stages = {part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")}
    assert stages == {"upload", "queue", "decode", "fit", "engine", "upsample", "encode", "total"}


def test_strength_keep_and_inverted_mask_are_the_librarys(client, harmonizer, pair):
    files = {"composite": encoded(pair.composite), "mask": encoded(255 - pair.mask)}
    answer = post(client, files, strength="0.5", keep="hue", invert_mask="true")
    expected = harmonizer.harmonize(pair.composite, pair.mask, strength=0.5, keep="hue")
    assert np.array_equal(decoded(answer.content), expected)


@pytest.mark.parametrize(
    ("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("TIFF", "image/tiff"), ("BMP", "image/bmp")]
)
def test_the_answer_is_of_the_composites_kind(client, pair, kind, media_type):
    answer = post(client, {"composite": encoded(pair.composite, kind), "mask": encoded(pair.mask)})
    assert answer.headers["content-type"] == media_type
    assert Image.open(io.BytesIO(answer.content)).format == kind


def test_format_and_quality_choose_another_kind(client, pair):
    sizes = {}
    for quality in (10, 95):
        answer = post(client, pair.files, format="jpg", quality=str(quality))
        assert answer.headers["content-type"] == "image/jpeg"
        sizes[quality] = len(answer.content)
    assert sizes[10] < sizes[95] / 2
    assert post(client, pair.files, format="webp").headers["content-type"] == "image/webp"


def test_profile_exif_and_16_bits_stay(client, harmonizer, pair):
    exif = Image.Exif()
    exif[315] = "somebody"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    jpeg = encoded(pair.composite, "JPEG", exif=exif.tobytes(), icc_profile=profile)
    kept = read_picture_file(post(client, {"composite": jpeg, "mask": encoded(pair.mask)}).content)
    assert kept.profile == profile
    assert b"somebody" in kept.exif
    deep = pair.composite[..., 0].astype(np.uint16) * 257 + 3
    answer = post(client, {"composite": encoded(deep), "mask": encoded(pair.mask)})
    found = read_picture_file(answer.content)
    assert found.native.dtype == np.uint16
    assert np.array_equal(found.native[pair.mask == 0], deep[pair.mask == 0])


def test_the_composites_alpha_is_the_mask_where_none_is_given(client, harmonizer, pair):
    answer = post(client, {"composite": encoded(np.dstack([pair.composite, pair.mask]))})
    assert np.array_equal(decoded(answer.content), harmonizer.harmonize(pair.composite, pair.mask))
    assert any("transparent pixels" in note for note in sentences(answer))


def test_a_cutout_is_pasted_where_it_is_wanted(client, pair):
    cutout = np.dstack([pair.composite, np.full(pair.mask.shape, 255, np.uint8)])[:20, :20]
    background = made_pair(9).composite
    files = {"foreground": encoded(cutout), "background": encoded(background)}
    changed = (decoded(post(client, files, at="5,7", scale="0.5").content) != background).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 16, 5, 14)


def test_layer_and_lut_are_answered(client, pair):
    layer = post(client, pair.files, output="layer")
    assert decoded(layer.content).shape[2] == 4
    lut = post(client, pair.files, output="lut")
    assert "LUT_3D_SIZE 33" in lut.text


def test_sentences_of_the_command_line_are_headers(client, pair):
    empty = {"composite": encoded(pair.composite), "mask": encoded(np.zeros_like(pair.mask))}
    assert sentences(post(client, empty), "harmonyrt-warning") == [
        "the mask is empty: the composite is returned unchanged"
    ]
    four = {"composite": encoded(pair.composite), "mask": encoded(np.where(pair.mask > 0, 7, 0).astype(np.uint8))}
    answer = post(client, four)
    assert any("the mask" in note for note in [*sentences(answer), *sentences(answer, "harmonyrt-warning")])


def test_sentences_of_two_at_once_do_not_mix(client, pair):
    from concurrent.futures import ThreadPoolExecutor

    empty = {"composite": encoded(pair.composite), "mask": encoded(np.zeros_like(pair.mask))}
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda n: post(client, empty if n % 2 else pair.files), range(20)))
    for number, answer in enumerate(answers):
        if answer.status_code == 200:
            assert len(sentences(answer, "harmonyrt-warning")) == number % 2
    assert sum(answer.status_code == 200 for answer in answers) >= 2


BAD = {
    "no composite": ({"mask": b"x"}, {}, 400, "no composite"),
    "no background": ({"foreground": b"x"}, {}, 400, "no background"),
    "both": ({"foreground": b"x", "background": b"x", "mask": b"x"}, {}, 400, "leave mask out"),
    "strength": ("pair", {"strength": "2"}, 400, "the strength is 2; give 0"),
    "a word": ("pair", {"strength": "much"}, 400, "give a number"),
    "nan": ("pair", {"strength": "nan"}, 400, "give a number"),
    "format": ("pair", {"format": "gif"}, 400, "give png"),
    "quality of png": ("pair", {"quality": "50"}, 422, "leave it out"),
    "flag": ("pair", {"fit_mask": "perhaps"}, 400, "give true or false"),
    "place": ({"foreground": b"x", "background": b"x"}, {"at": "here"}, 400, "at here is no place"),
    "unknown field": ("pair", {"colour": "red"}, 400, "has a field 'colour'"),
    "model": ("pair", {"model": "../../etc/passwd"}, 404, "there is no model"),
    "seed": ("pair", {"seed": "1"}, 422, "seed is for diffharmony"),
    "no picture": ({"composite": b"hello", "mask": b"hello"}, {}, 415, "is not a picture"),
    "empty file": ({"composite": b"", "mask": b""}, {}, 422, "is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_get_a_sentence_and_the_right_status(client, pair, case):
    files, fields, status, words = BAD[case]
    answer = post(client, pair.files if files == "pair" else files, **fields)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert words in problem["detail"]


def test_pictures_that_do_not_go_together_are_refused(client, pair):
    small = encoded(pair.mask[:20])
    answer = post(client, {"composite": encoded(pair.composite), "mask": small})
    assert answer.status_code == 422
    assert "the mask is 64x20 and the composite 64x48" in answer.json()["detail"]
    assert post(client, {"composite": encoded(pair.composite), "mask": small}, fit_mask="1").status_code == 200
    cut = encoded(pair.composite, "JPEG")[:300]
    answer = post(client, {"composite": cut, "mask": encoded(pair.mask)})
    assert answer.status_code == 422
    assert "damaged or cut short" in answer.json()["detail"]


def test_two_bodies_of_one_name_or_none_are_refused(client):
    for body, words in (
        (b'--x\r\nContent-Disposition: form-data; name="mask"\r\n\r\na\r\n' * 2 + b"--x--\r\n", "twice"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", "no name"),
        (b'--x\r\nContent-Disposition: form-data; name="mask"\r\n\r\na', "before its last boundary"),
        (b"nothing of the kind", "malformed"),
        (b"", "before its last boundary"),
    ):
        answer = client.post("/v1/harmonize", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
        assert (answer.status_code, words in answer.json()["detail"]) == (400, True), answer.text


def test_other_bodies_are_refused_by_type(client):
    assert client.post("/v1/harmonize", json={}).status_code == 415
    no_boundary = client.post("/v1/harmonize", content=b"x", headers={"content-type": "multipart/form-data"})
    assert no_boundary.status_code == 400


def test_limits_refuse_before_decoding(settings, pair):
    from dataclasses import replace

    with in_memory(replace(settings, max_upload_mb=0.02, max_megapixels=0.01)) as client:
        body = post(client, {"composite": bytes(30_000), "mask": b""})
        assert body.status_code == 413
        assert "0.02 MB" in body.json()["detail"]
        large = io.BytesIO()
        Image.new("L", (6000, 6000)).save(large, "PNG", compress_level=9)
        bomb = large.getvalue()[:15_000]
        answer = post(client, {"composite": bomb, "mask": b"x"})
        assert answer.status_code == 413
        assert "36 megapixels" in answer.json()["detail"]


def test_progress_comes_as_events(client, harmonizer, pair):
    answer = post(client, pair.files, headers={"accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event.split("\n") for event in answer.text.strip().split("\n\n")]
    assert events[-1][0] == "event: result"
    result = json.loads(events[-1][1].removeprefix("data: "))
    picture = decoded(base64.b64decode(result["data"]))
    assert np.array_equal(picture, harmonizer.harmonize(pair.composite, pair.mask))
    broken = post(client, {"composite": b"no", "mask": b"no"}, headers={"accept": "text/event-stream"})
    assert broken.status_code == 415


def test_a_stream_of_events_gives_its_bodys_room_back(settings, pair):
    with in_memory(settings) as client:
        post(client, pair.files, headers={"accept": "text/event-stream"})
        assert client.service.uploads.held == 0


def test_models_are_listed(client, bundle):
    (model,) = client.get("/v1/models").json()["models"]
    assert (model["name"], model["family"], model["size"]) == (bundle.name, "phnet", [32, 32])


@pytest.mark.slow
def test_diffharmony_takes_seed_and_steps_and_tells_how_far_it_is(settings, diffharmony_bundles, pair):
    from dataclasses import replace

    from harmonyrt.runtime.diffusion import RunOptions

    path = diffharmony_bundles["kl"]
    with (
        in_memory(replace(settings, bundles=(path,), timeout=120.0)) as client,
        Harmonizer.open(path, backend="onnxruntime", threads=1) as harmonizer,
    ):
        answer = post(client, pair.files, headers={"accept": "text/event-stream"}, seed="5", steps="2")
        events = answer.text.strip().split("\n\n")
        result = json.loads(events[-1].split("data: ")[1])
        expected = harmonizer.harmonize(pair.composite, pair.mask, options=RunOptions(seed=5, steps=2))
        assert np.array_equal(decoded(base64.b64decode(result["data"])), expected)
        assert sum(event.startswith("event: progress") for event in events) >= 4
        assert any("random" in sentence for sentence in result["sentences"])
        assert client.get("/v1/models").json()["models"][0]["fields"] == ["seed", "sample", "steps"]
