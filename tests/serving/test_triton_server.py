"""A real Triton Inference Server serves what `harmonyrt triton` writes (`make test-serve` sets one up)."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as client_library

from fakes.served import Pair, made_pair
from fakes.triton import ENVIRONMENT, Triton
from harmonyrt.common.files import sha256_of
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.manifest import FILE_NAME, FileSpec, Manifest
from harmonyrt.serving.triton.models import Placing
from harmonyrt.serving.triton.repository import write_repository

pytestmark = pytest.mark.triton
SIZES = [(48, 64), (1, 1), (301, 200), (1100, 900)]


def dimmer(bundle: Path, folder: Path) -> Path:
    """Another bundle, whose network halves: what comes from it cannot be taken for the first one's."""
    import onnx

    shutil.copytree(bundle, folder)
    model = onnx.load(folder / "model.onnx")
    model.graph.initializer[0].CopyFrom(onnx.helper.make_tensor("factor", onnx.TensorProto.FLOAT, [], [0.5]))
    onnx.save(model, folder / "model.onnx")
    manifest = Manifest.from_json((folder / FILE_NAME).read_text())
    file = FileSpec("model.onnx", sha256_of(folder / "model.onnx"), (folder / "model.onnx").stat().st_size)
    engine = replace(manifest.engines[0], files=(file,))
    (folder / FILE_NAME).write_text(replace(manifest, engines=(engine,)).to_json())
    return folder


@dataclass
class Served:
    """A running Triton, its repository, and the bundles by the names of the models that harmonize with them."""

    triton: Triton
    repository: Path
    bundles: dict[str, Path]
    client: Any

    def infer(self, model: str, pair: Pair, client: Any = None, **parameters: Any) -> np.ndarray:
        inputs = []
        for name, array in (("composite", pair.composite), ("mask", pair.mask)):
            inputs.append(client_library.InferInput(name, list(array.shape), "UINT8"))
            inputs[-1].set_data_from_numpy(array)
        wanted = [client_library.InferRequestedOutput("harmonized")]
        answer = (client or self.client).infer(model, inputs, outputs=wanted, parameters=parameters or None)
        return answer.as_numpy("harmonized")


@pytest.fixture(scope="module")
def served(bundle, tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("triton")
    bundles = [bundle, dimmer(bundle, folder / "dimmer")]
    repository = folder / "models"
    made = write_repository(bundles, repository, Placing(threads=1, instances=2, max_megapixels=2))
    triton = Triton(repository, folder)
    try:
        client = client_library.InferenceServerClient(triton.address, concurrency=8, network_timeout=60)
        names = [path.name for path in made if path.name.endswith("-harmonize")]
        for name in names:
            client.load_model(name)
        yield Served(triton, repository, dict(zip(names, bundles, strict=True)), client)
        client.close()
    finally:
        code = triton.stop()
    assert code == 0, triton.log()[-2000:]


def test_models_are_ready_and_have_the_tensors_of_the_other_faces(served):
    assert served.client.is_server_ready()
    for name in served.bundles:
        assert served.client.is_model_ready(name, "1")
        found = served.client.get_model_metadata(name)
        inputs = {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in found["inputs"]}
        assert inputs == {"composite": ("UINT8", [-1, -1, 3]), "mask": ("UINT8", [-1, -1])}
        assert [tensor["name"] for tensor in found["outputs"]] == ["harmonized"]
        assert served.client.get_model_config(name)["instance_group"][0]["count"] == 2


@pytest.mark.filterwarnings("ignore:the mask covers the whole picture")
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_the_local_call(served, size):
    for name, bundle in served.bundles.items():
        pair = made_pair(sum(size), *size)
        if size == (1, 1):
            pair = replace(pair, mask=np.full_like(pair.mask, 255))
        with Harmonizer.open(bundle, threads=1, backend="onnxruntime") as harmonizer:
            for parameters in ({}, {"strength": 0.3}, {"strength": "1.2", "keep": "hue"}):
                expected = harmonizer.harmonize(
                    pair.composite,
                    pair.mask,
                    strength=float(parameters.get("strength", 1)),
                    keep=parameters.get("keep"),
                )
                found = served.infer(name, pair, **parameters)
                assert np.array_equal(found, expected), f"{name}, {size}, {parameters}"


def test_warnings_are_in_the_log(served, pair):
    name = next(iter(served.bundles))
    assert np.array_equal(served.infer(name, replace(pair, mask=pair.mask * 0)), pair.composite)
    assert served.triton.logs("the mask is empty"), served.triton.log()[-2000:]


def test_bad_input_is_one_sentence(served, pair):
    name = next(iter(served.bundles))

    def refused(pair: Pair, **parameters: Any) -> str:
        with pytest.raises(client_library.InferenceServerException) as caught:
            served.infer(name, pair, **parameters)
        assert caught.value.status() == "400"
        assert "Traceback" not in caught.value.message()
        return caught.value.message()

    assert refused(replace(pair, mask=pair.mask[:-1])).startswith("the mask is 64x47 and the composite 64x48")
    assert refused(pair, strength=9).startswith("the strength is 9")
    assert refused(pair, strenght=1).endswith("give some of strength, keep, fit_mask")
    assert "megapixels" in refused(made_pair(1, 2000, 1100))
    fitted = served.infer(name, replace(pair, mask=pair.mask[:-1]), fit_mask=True)
    assert fitted.shape == pair.composite.shape


def test_callers_at_once_get_their_own_pictures(served):
    harmonizers = {
        name: Harmonizer.open(bundle, threads=1, backend="onnxruntime") for name, bundle in served.bundles.items()
    }

    def ask(number: int) -> bool:
        name = list(served.bundles)[number % 2]
        pair = made_pair(number, 60 + number, 90)
        with client_library.InferenceServerClient(served.triton.address, network_timeout=60) as client:
            return np.array_equal(
                served.infer(name, pair, client), harmonizers[name].harmonize(pair.composite, pair.mask)
            )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(24)))
    for harmonizer in harmonizers.values():
        harmonizer.close()


def test_an_altered_copy_is_not_loaded(served):
    name = list(served.bundles)[1]
    copy = served.repository / "altered-harmonize"
    shutil.copytree(served.repository / name, copy)
    (copy / "config.pbtxt").write_text((copy / "config.pbtxt").read_text().replace(f'"{name}"', '"altered-harmonize"'))
    with (copy / "1" / "bundle" / "model.onnx").open("r+b") as file:
        file.write(b"?")
    with pytest.raises(client_library.InferenceServerException, match="was altered"):
        served.client.load_model("altered-harmonize")


def test_triton_takes_the_engines_configuration_and_misses_only_its_backend(served):
    """This Triton has the Python backend alone: its own checks of a configuration come before that."""
    name = next(path.name for path in served.repository.iterdir() if path.name.endswith("-onnx"))
    with pytest.raises(client_library.InferenceServerException, match="onnxruntime"):
        served.client.load_model(name)


PARSE = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
for path in sys.argv[1:]:
    message = text_format.Parse(open(path).read(), model_config_pb2.ModelConfig())
    print(json.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True)))
"""


def parsed(*configs: Path) -> list[dict[str, Any]]:
    """Configurations, read with Triton's own schema; a field or value that it lacks is an error."""
    if not (ENVIRONMENT / "bin" / "python").exists():
        pytest.skip(f"no Triton in {ENVIRONMENT.name}: run make test-serve")
    command = [ENVIRONMENT / "bin" / "python", "-c", PARSE, *configs]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_configurations_of_every_backend_follow_tritons_schema(bundle, tmp_path):
    manifest = Manifest.from_json((bundle / FILE_NAME).read_text())
    engines = tuple(
        replace(manifest.engines[0], target=target, precision=precision)
        for target, precision in (("onnx", "fp16"), ("openvino", "bf16"), ("tensorrt", "fp16"))
    )
    configs: list[Path] = []
    for kind in ("fixed", "any"):
        source = tmp_path / kind
        shutil.copytree(bundle, source)
        changes: dict[str, Any] = {"engines": engines}
        if kind == "any":
            changes |= {"size": None, "batch": None, "working_size": 64}
            for tensors in ("inputs", "outputs"):
                changes[tensors] = tuple(replace(t, shape=(-1, t.shape[1], -1, -1)) for t in getattr(manifest, tensors))
        (source / FILE_NAME).write_text(replace(manifest, **changes).to_json())
        made = write_repository([source], tmp_path / f"{kind}-models", Placing("cuda", 2, 3))
        configs += [path / "config.pbtxt" for path in made]
    assert len(configs) == 8
    found = {config["name"]: config for config in parsed(*configs)}
    for config in found.values():
        inputs = {one["name"]: one for one in config["input"]}
        (warmup,) = config["model_warmup"]
        assert warmup["batch_size"] == 1
        for name, data in warmup["inputs"].items():  # a request that the model itself would take
            dims = inputs[name]["dims"]
            assert data["data_type"] == inputs[name]["data_type"]
            assert len(dims) == len(data["dims"])
            assert all(wanted in ("-1", given) for wanted, given in zip(dims, data["dims"], strict=True))
        assert set(warmup["inputs"]) == set(inputs)
        assert config["instance_group"][0]["count"] == 2
    assert found["any-onnx"]["max_batch_size"] == 8
    assert "dynamic_batching" in found["any-onnx"]
    assert found["any-tensorrt"]["instance_group"][0] == {"count": 2, "kind": "KIND_GPU", "profile": ["0"]}
    assert found["fixed-openvino"]["parameters"]["HINT_BF16"] == {"string_value": "YES"}
    assert found["fixed-openvino"]["instance_group"][0]["kind"] == "KIND_CPU"
    assert found["fixed-onnx"]["input"][0]["dims"] == ["1", "3", "32", "32"]
