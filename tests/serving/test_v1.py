"""/v1/harmonize answers what harmonize() and the command line do, and says what they say."""

from __future__ import annotations

import numpy as np
import pytest

from fakes.served import decoded
from harmonyrt.runtime import Harmonizer


@pytest.fixture(scope="module")
def harmonizer(bundle):
    with Harmonizer.open(bundle, backend="onnxruntime", threads=1) as harmonizer:
        yield harmonizer


def post(client, files, **fields):
    return client.post("/v1/harmonize", files=files, data=fields)


def test_pixels_are_those_of_the_local_call(client, harmonizer, pair):
    answer = post(client, pair.files)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(decoded(answer.content), harmonizer.harmonize(pair.composite, pair.mask))
    stages = {part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")}
    assert stages == {"upload", "queue", "decode", "fit", "engine", "upsample", "encode", "total"}
