"""The model that runs in Triton, with a stand-in for what Triton gives it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fakes.triton import OldResponse, Request, Response, TritonModelException, backend_utils
from harmonyrt.common import WorkFailed
from harmonyrt.runtime import Harmonizer
from harmonyrt.serving.triton.models import Placing
from harmonyrt.serving.triton.python_model import TritonPythonModel
from harmonyrt.serving.triton.repository import write_repository


@pytest.fixture
def folder(bundle, tmp_path) -> Path:
    return write_repository([bundle], tmp_path / "models", Placing(), engines=False)[0]


@pytest.fixture
def opened(folder, monkeypatch):
    """opened(utils): the model of the repository, as Triton makes it."""
    made = []

    def opened(utils, kind="CPU", **parameters: str) -> TritonPythonModel:
        monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utils)
        names: dict = {}
        exec((folder / "1" / "model.py").read_text(), names)
        config = {"parameters": {key: {"string_value": value} for key, value in parameters.items()}}
        made.append(names["TritonPythonModel"]())
        made[-1].initialize(
            {
                "model_name": folder.name,
                "model_config": json.dumps(config),
                "model_repository": str(folder),
                "model_version": "1",
                "model_instance_kind": kind,
                "model_instance_device_id": "0",
            }
        )
        return made[-1]

    yield opened
    for model in made:
        if hasattr(model, "_harmonizer"):
            model.finalize()


@pytest.mark.parametrize("response", [Response, OldResponse])
def test_each_request_gets_its_picture_or_its_sentence(opened, bundle, pair, response):
    utils = backend_utils(response)
    model = opened(utils, backend="onnxruntime", threads="1", max_megapixels="0.01")
    small = pair.mask[:-1]
    big = np.zeros((200, 200, 3), np.uint8)
    answers = model.execute(
        [
            Request("", composite=pair.composite, mask=pair.mask),
            Request('{"strength": "0.5"}', composite=pair.composite, mask=pair.mask),
            Request("{}", composite=pair.composite, mask=small),
            Request("{}", composite=pair.composite, mask=pair.mask * 0),
            Request("{}", composite=big, mask=big[..., 0]),
        ]
    )
    with Harmonizer.open(bundle, backend="onnxruntime", threads=1) as harmonizer:
        whole = harmonizer.harmonize(pair.composite, pair.mask)
        half = harmonizer.harmonize(pair.composite, pair.mask, strength=0.5)
    assert [answer.error is None for answer in answers] == [True, True, False, True, False]
    assert answers[0].tensors[0].name == "harmonized"
    assert np.array_equal(answers[0].tensors[0].array, whole)
    assert np.array_equal(answers[1].tensors[0].array, half)
    assert not np.array_equal(whole, half)
    assert answers[2].error.message.startswith("the mask is 64x47 and the composite 64x48")
    assert answers[2].error.code == "invalid"
    assert np.array_equal(answers[3].tensors[0].array, pair.composite)
    assert "megapixels" in answers[4].error.message
    assert any("the mask is empty" in line for line in utils.logged)
    if response is Response:
        assert "the mask is empty" in answers[3].parameters["remarks"]
        assert answers[0].parameters == {}


def test_work_that_fails_is_told_apart_from_bad_input(opened, pair, monkeypatch):
    model = opened(backend_utils(), backend="onnxruntime")
    for error, sentence in ((WorkFailed("the engine broke"), "the engine broke"), (MemoryError(), "out of memory")):

        def fails(*arguments, error=error, **options):
            raise error

        monkeypatch.setattr(model._harmonizer, "harmonize", fails)
        (answer,) = model.execute([Request("{}", composite=pair.composite, mask=pair.mask)])
        assert sentence in answer.error.message
        assert answer.error.code == "internal"


def test_a_damaged_copy_is_not_opened(opened, folder):
    (folder / "1" / "bundle" / "model.onnx").write_bytes(b"?")
    with pytest.raises(TritonModelException, match="manifest says"):
        opened(backend_utils())


def test_a_gpu_instance_asks_for_its_gpu(opened):
    with pytest.raises(TritonModelException, match="cuda:0"):
        opened(backend_utils(), kind="GPU", backend="onnxruntime")
