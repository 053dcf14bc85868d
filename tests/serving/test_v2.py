"""The open inference protocol, spoken by hand and by Triton's own client."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harmonyrt.runtime import Harmonizer


@pytest.fixture(scope="module")
def harmonizer(bundle):
    with Harmonizer.open(bundle, backend="onnxruntime", threads=1) as harmonizer:
        yield harmonizer


def as_json(**tensors):
    return {
        "inputs": [
            {"name": name, "datatype": "UINT8", "shape": list(array.shape), "data": array.ravel().tolist()}
            for name, array in tensors.items()
        ]
    }


def infer(client, name, request, **options):
    return client.post(f"/v2/models/{name}/infer", json=request, **options)


def test_metadata_is_the_protocols(client, bundle):
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for address in (f"/v2/models/{bundle.name}", f"/v2/models/{bundle.name}/versions/1"):
        assert client.get(address).json() == {
            "name": bundle.name,
            "versions": ["1"],
            "platform": "harmonyrt_phnet",
            "inputs": [
                {"name": "composite", "datatype": "UINT8", "shape": [-1, -1, 3]},
                {"name": "mask", "datatype": "UINT8", "shape": [-1, -1]},
            ],
            "outputs": [{"name": "harmonized", "datatype": "UINT8", "shape": [-1, -1, 3]}],
        }
    engine = client.get(f"/v2/models/{bundle.name}-engine").json()
    assert engine["inputs"][0] == {"name": "image", "datatype": "FP32", "shape": [1, 3, 32, 32]}
    assert client.get(f"/v2/models/{bundle.name}-engine/ready").json()["ready"] is True


def test_pictures_in_json_come_back_in_json(client, bundle, harmonizer, pair):
    request = as_json(composite=pair.composite, mask=pair.mask) | {"id": "seven", "parameters": {"strength": 0.5}}
    answer = infer(client, bundle.name, request).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (bundle.name, "1", "seven")
    (output,) = answer["outputs"]
    expected = harmonizer.harmonize(pair.composite, pair.mask, strength=0.5)
    assert np.array_equal(np.array(output["data"], np.uint8).reshape(output["shape"]), expected)


BAD = {
    "no inputs": {},
    "no mask": lambda p: as_json(composite=p.composite),
    "shape": lambda p: as_json(composite=p.composite[..., 0], mask=p.mask),
    "too few numbers": lambda p: {
        "inputs": [as_json(composite=p.composite)["inputs"][0] | {"data": [1]}, *as_json(mask=p.mask)["inputs"]]
    },
    "beyond the type": lambda p: {
        "inputs": [
            as_json(composite=p.composite)["inputs"][0] | {"data": [300] * p.composite.size},
            *as_json(mask=p.mask)["inputs"],
        ]
    },
    "words": lambda p: {
        "inputs": [
            as_json(composite=p.composite)["inputs"][0] | {"data": ["a"] * p.composite.size},
            *as_json(mask=p.mask)["inputs"],
        ]
    },
    "negative side": {"inputs": [{"name": "composite", "datatype": "UINT8", "shape": [-1, -1, 3], "data": []}]},
    "parameter": lambda p: as_json(composite=p.composite, mask=p.mask) | {"parameters": {"colour": 1}},
    "strength": lambda p: as_json(composite=p.composite, mask=p.mask) | {"parameters": {"strength": "x"}},
    "fit_mask": lambda p: as_json(composite=p.composite, mask=p.mask) | {"parameters": {"fit_mask": "yes"}},
    "output": lambda p: as_json(composite=p.composite, mask=p.mask) | {"outputs": [{"name": "other"}]},
    "list": [1, 2],
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_errors_of_the_protocol(client, bundle, pair, case):
    request = BAD[case](pair) if callable(BAD[case]) else BAD[case]
    answer = infer(client, bundle.name, request)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]


def test_unknown_models_versions_and_lengths_are_errors(client, bundle):
    assert client.get("/v2/models/none").status_code == 404
    assert client.get(f"/v2/models/{bundle.name}/versions/2").status_code == 404
    assert list(client.get("/v2/nothing").json()) == ["error"]
    for length in ("99999999", "-1", "x", "5"):
        answer = infer(client, bundle.name, {"inputs": []}, headers={"inference-header-content-length": length})
        assert answer.status_code == 400, length


def test_binary_data_that_is_short_or_long_is_refused(client, bundle, pair):
    def send(extra):
        described = [
            {"name": name, "datatype": "UINT8", "shape": list(a.shape), "parameters": {"binary_data_size": a.nbytes}}
            for name, a in (("composite", pair.composite), ("mask", pair.mask))
        ]
        head = json.dumps({"inputs": described}).encode()
        data = (pair.composite.tobytes() + pair.mask.tobytes() + b"abc")[
            : pair.composite.nbytes + pair.mask.nbytes + extra
        ]
        return client.post(
            f"/v2/models/{bundle.name}/infer",
            content=head + data,
            headers={"inference-header-content-length": str(len(head))},
        )

    assert send(0).status_code == 200
    assert send(1).status_code == 400
    assert send(-1).status_code == 400


def test_tritons_own_client_gets_the_same_pixels(running, bundle, harmonizer, pair):
    import tritonclient.http as triton

    server = running()
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(bundle.name)
        assert [one["name"] for one in client.get_model_repository_index()] == [bundle.name, f"{bundle.name}-engine"]
        assert client.get_server_metadata()["name"] == "harmonyrt"
        names = [tensor["name"] for tensor in client.get_model_metadata(bundle.name)["inputs"]]
        assert names == ["composite", "mask"]
        for binary in (True, False):
            inputs = []
            for name, array in (("composite", pair.composite), ("mask", pair.mask)):
                inputs.append(triton.InferInput(name, list(array.shape), "UINT8"))
                inputs[-1].set_data_from_numpy(array, binary_data=binary)
            wanted = [triton.InferRequestedOutput("harmonized", binary_data=binary)]
            result = client.infer(
                bundle.name, inputs, outputs=wanted, request_id="r1", parameters={"strength": 0.8}, model_version="1"
            )
            expected = harmonizer.harmonize(pair.composite, pair.mask, strength=0.8)
            assert np.array_equal(result.as_numpy("harmonized"), expected)
            assert result.get_response()["id"] == "r1"
        image = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
        mask = np.ones((1, 1, 32, 32), np.float32)
        inputs = [
            triton.InferInput("image", list(image.shape), "FP32"),
            triton.InferInput("mask", list(mask.shape), "FP32"),
        ]
        inputs[0].set_data_from_numpy(image)
        inputs[1].set_data_from_numpy(mask)
        output = client.infer(f"{bundle.name}-engine", inputs).as_numpy("output")
        assert np.array_equal(output, harmonizer.run_tensor(image, mask))
        with pytest.raises(triton.InferenceServerException, match="there is no model"):
            client.infer("none", inputs)
    finally:
        client.close()


def test_damaged_requests_are_errors_of_the_protocol(settings, bundle, pair):
    """Bytes changed anywhere: in the JSON, its length, or the tensors."""
    import asyncio
    import random

    from fakes.served import asked, in_memory
    from harmonyrt.benchmarks.serving_mutations import damaged

    rng = random.Random(5)
    arrays = {"composite": pair.composite, "mask": pair.mask}
    described = [
        {"name": n, "datatype": "UINT8", "shape": list(a.shape), "parameters": {"binary_data_size": a.nbytes}}
        for n, a in arrays.items()
    ]
    head = json.dumps({"inputs": described, "parameters": {"strength": 0.5}}).encode()
    data = b"".join(a.tobytes() for a in arrays.values())
    path, statuses = f"/v2/models/{bundle.name}/infer", set()

    async def scene(app) -> None:
        for _ in range(300):
            changed = damaged(head, rng)
            headers = {"inference-header-content-length": str(len(rng.choice((head, changed))))}
            status, answer = await asked(app, path, changed + data, headers)
            statuses.add(status)
            assert status in (200, 400, 413), (status, answer[:300], changed)
            if status != 200:
                assert list(json.loads(answer)) == ["error"]

    with in_memory(settings) as client:
        asyncio.run(scene(client.app))
    assert statuses >= {200, 400}
