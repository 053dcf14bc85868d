"""What `harmonyrt triton` writes: unmodified engines, configurations true to the manifest, all of it or nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from harmonyrt.cli.main import main
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import sha256_of
from harmonyrt.runtime.manifest import FILE_NAME, FileSpec, Manifest
from harmonyrt.serving.triton import repository
from harmonyrt.serving.triton.models import Placing
from harmonyrt.serving.triton.repository import write_repository
from harmonyrt.serving.triton.text import Word, written


def remade(
    bundle: Path, folder: Path, *targets: str, dynamic: bool = False, needs: dict[str, str] | None = None, **changes
) -> Path:
    """A copy of a bundle whose manifest says something else; engines of `targets` are files of a few bytes."""
    shutil.copytree(bundle, folder)
    manifest = Manifest.from_json((folder / FILE_NAME).read_text())
    engines = []
    for number, target in enumerate(targets):
        names = ("net.xml", "net.bin") if target == "openvino" else (f"net{number}.engine",)
        for name in names:
            (folder / name).write_bytes(f"{target} {name}".encode())
        files = tuple(FileSpec(name, sha256_of(folder / name), (folder / name).stat().st_size) for name in names)
        engines.append(dataclasses.replace(manifest.engines[0], target=target, files=files, needs=needs or {}))
    if targets:
        changes["engines"] = tuple(engines)
    if dynamic:
        for name in ("inputs", "outputs"):
            tensors = getattr(manifest, name)
            changes[name] = tuple(dataclasses.replace(t, shape=(-1, t.shape[1], -1, -1)) for t in tensors)
        changes |= {"size": None, "batch": None, "working_size": 64}
    (folder / FILE_NAME).write_text(dataclasses.replace(manifest, **changes).to_json())
    return folder


def config(folder: Path) -> str:
    return (folder / "config.pbtxt").read_text()


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_text_has_quotes_lists_and_messages():
    message = {
        "name": 'a"\\é\n',
        "yes": True,
        "dims": [1, -1],
        "kind": Word("KIND_CPU"),
        "empty": {},
        "many": [{"n": 1}, {}],
    }
    assert written(message).splitlines() == [
        'name: "a\\"\\\\\\303\\251\\012"',
        "yes: true",
        "dims: [1, -1]",
        "kind: KIND_CPU",
        "empty {}",
        "many {",
        "  n: 1",
        "}",
        "many {}",
    ]


def test_a_bundle_becomes_its_engine_and_a_model_that_harmonizes(bundle, tmp_path):
    made = write_repository([bundle], tmp_path / "models", Placing(threads=3))
    assert [path.name for path in made] == [f"{bundle.name}-onnx", f"{bundle.name}-harmonize"]
    engine, harmonize = made
    assert tree(engine) == {"config.pbtxt", "1/model.onnx"}
    assert (engine / "1/model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert tree(harmonize) == {
        *("config.pbtxt", "1/model.py", "1/bundle/manifest.json", "1/bundle/model.onnx"),
        *("warmup/composite", "warmup/mask"),
    }
    assert (harmonize / "1/bundle/manifest.json").read_bytes() == (bundle / FILE_NAME).read_bytes()
    assert (harmonize / "warmup/composite").stat().st_size == 32 * 32 * 3
    assert set((harmonize / "warmup/mask").read_bytes()) == {0, 255}
    text = config(engine)
    for line in ('backend: "onnxruntime"', 'default_model_filename: "model.onnx"', "max_batch_size: 0"):
        assert line in text
    assert "dims: [1, 3, 32, 32]" in text
    assert 'key: "intra_op_thread_count"\n  value {\n    string_value: "3"' in text
    assert "dynamic_batching" not in text
    assert oct((tmp_path / "models").stat().st_mode)[-3:] == oct(0o777 & ~_umask())[2:], "Triton's user reads it"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_engines_that_take_a_batch_get_dynamic_batching_where_triton_does_it_well(bundle, tmp_path):
    source = remade(bundle, tmp_path / "any", "onnx", "openvino", "tensorrt", dynamic=True)
    notes: list[str] = []
    made = write_repository([source], tmp_path / "models", Placing(), note=notes.append)
    onnx, openvino, tensorrt, _ = map(config, made)
    assert "max_batch_size: 8" in onnx
    assert "dynamic_batching {}" in onnx
    assert "dims: [3, -1, -1]" in onnx
    assert "dims: [3, 64, 64]" in onnx  # warm-up, at the size that pictures are fitted to
    assert "max_batch_size: 0" in openvino  # else it pads every call to the largest batch
    assert "dims: [-1, 3, -1, -1]" in openvino
    assert "dims: [1, 3, 64, 64]" in openvino
    assert "dynamic_batching" not in openvino
    assert 'default_model_filename: "net.xml"' in openvino
    assert "max_batch_size: 1" in tensorrt  # its first profile takes one picture of any size
    assert 'profile: ["0"]' in tensorrt
    assert any("BF16" in note for note in notes), "Triton cannot tell OpenVINO to stay in FP32"


def test_kinds_follow_the_device_and_what_the_bundle_has(bundle, tmp_path):
    source = remade(bundle, tmp_path / "many", "onnx", "openvino", "tensorrt")
    kinds = {
        device: [
            "KIND_GPU" in config(path) for path in write_repository([source], tmp_path / str(device), Placing(device))
        ]
        for device in (None, "cuda", "cpu")
    }
    assert kinds[None] == [False, False, True, False]  # onnx, openvino, tensorrt, harmonize
    assert kinds["cuda"] == [True, False, True, True]
    assert kinds["cpu"] == [False, False, True, False]
    only = remade(bundle, tmp_path / "plan", "tensorrt")
    assert ["KIND_GPU" in config(path) for path in write_repository([only], tmp_path / "gpu", Placing())] == [
        True,
        True,
    ]


def test_version_compatible_plans_need_a_word_to_triton(bundle, tmp_path):
    notes: list[str] = []
    needs = {"version_compatible": "true"}
    source = remade(bundle, tmp_path / "plan", "tensorrt", needs=needs)
    write_repository([source], tmp_path / "a", Placing(), harmonize=False, note=notes.append)
    assert notes == ["plan-tensorrt opens in tritonserver --backend-config=tensorrt,version-compatible=true alone"]
    notes.clear()
    apart = remade(bundle, tmp_path / "apart", "tensorrt", needs=needs | {"lean_runtime": "libnvinfer_lean.so.11"})
    made = write_repository([apart], tmp_path / "b", Placing(), note=notes.append)
    assert [path.name for path in made] == ["apart-harmonize"]
    (note,) = notes
    assert note.startswith("apart: Triton opens no plan that needs another file")
    assert "without --lean-runtime" in note


def test_what_cannot_be_written_is_said(bundle, tmp_path):
    notes: list[str] = []
    source = remade(bundle, tmp_path / "rtx", "tensorrt-rtx")
    made = write_repository([source], tmp_path / "a", Placing(), note=notes.append)
    assert [path.name for path in made] == ["rtx-harmonize"]
    assert notes == ["rtx: Triton has no backend for tensorrt-rtx engines; rtx-harmonize runs them"]
    with pytest.raises(HarmonyError, match="there is nothing to write"):
        write_repository([source], tmp_path / "b", Placing(), harmonize=False)
    model = dataclasses.replace(Manifest.from_json((bundle / FILE_NAME).read_text()).model, family="diffharmony")
    loop = remade(bundle, tmp_path / "loop", model=model)
    notes.clear()
    made = write_repository([loop], tmp_path / "c", Placing(), note=notes.append)
    assert [path.name for path in made] == ["loop-harmonize"]
    assert "several networks" in notes[0]


def test_engines_of_one_target_get_names_of_their_own(bundle, tmp_path):
    source = remade(bundle, tmp_path / "b", "tensorrt", "tensorrt", "tensorrt")
    made = write_repository([source], tmp_path / "models", Placing(), harmonize=False)
    assert [path.name for path in made] == ["b-tensorrt", "b-tensorrt-fp32", "b-tensorrt-fp32-2"]
    assert [tree(path) for path in made] == [{"config.pbtxt", f"1/net{n}.engine"} for n in range(3)]


def test_tensors_of_an_unknown_type_are_refused(bundle, tmp_path):
    source = remade(bundle, tmp_path / "b")
    manifest = json.loads((source / FILE_NAME).read_text())
    manifest["inputs"][1]["dtype"] = "complex64"
    (source / FILE_NAME).write_text(json.dumps(manifest))
    with pytest.raises(HarmonyError, match="the tensor mask is of complex64"):
        write_repository([source], tmp_path / "models", Placing())
    assert not (tmp_path / "models").exists()


def test_bf16_onnx_is_for_gpus(bundle, tmp_path):
    source = remade(bundle, tmp_path / "b")
    manifest = json.loads((source / FILE_NAME).read_text())
    manifest["engines"][0]["precision"] = "bf16"
    (source / FILE_NAME).write_text(json.dumps(manifest))
    notes: list[str] = []
    assert len(write_repository([source], tmp_path / "cpu", Placing(), note=notes.append)) == 1
    assert "no BF16 kernels" in notes[0]
    assert len(write_repository([source], tmp_path / "gpu", Placing("cuda"))) == 2


def test_native_engines_are_left_out_and_plain_ones_written(bundle, tmp_path):
    source = remade(bundle, tmp_path / "b", "openvino", "onnx")
    manifest = json.loads((source / FILE_NAME).read_text())
    manifest["engines"] += [{**manifest["engines"][0], "needs": {"native": "1"}}]
    (source / FILE_NAME).write_text(json.dumps(manifest))
    notes: list[str] = []
    models = write_repository([source], tmp_path / "models", Placing(), note=notes.append)
    assert len(models) == 3  # one for each plain engine, and the one that harmonizes
    assert any("openvino fp32 native is left out" in note for note in notes)


def test_an_existing_repository_keeps_its_other_models(bundle, tmp_path):
    output = tmp_path / "models"
    (output / "mine" / "1").mkdir(parents=True)
    (output / "mine" / "config.pbtxt").write_text("mine")
    write_repository([bundle], output, Placing())
    before = tree(output)
    with pytest.raises(HarmonyError, match=r"is there already.*--force"):
        write_repository([bundle], output, Placing(threads=2))
    assert tree(output) == before
    write_repository([bundle], output, Placing(threads=2), force=True)
    assert tree(output) == before, "nothing but the models, and no scratch folder"
    assert "intra_op_thread_count" in config(output / f"{bundle.name}-onnx")
    assert (output / "mine" / "config.pbtxt").read_text() == "mine"


def test_force_replaces_models_only(bundle, tmp_path):
    place = tmp_path / "models" / f"{bundle.name}-onnx"
    place.mkdir(parents=True)
    (place / "thesis.tex").write_text("years")
    with pytest.raises(HarmonyError, match="is no model of Triton's"):
        write_repository([bundle], tmp_path / "models", Placing(), force=True)
    assert tree(tmp_path / "models") == {f"{bundle.name}-onnx/thesis.tex"}


@pytest.mark.parametrize("there", [False, True])
def test_a_write_that_fails_leaves_all_as_it_was(bundle, tmp_path, monkeypatch, there):
    output = tmp_path / "new" / "models"
    if there:
        write_repository([bundle], output, Placing())
    before = tree(tmp_path)
    real, renamed = os.rename, []

    def rename(source, target):
        if "old" not in (Path(source).parent.name, Path(target).parent.name):
            renamed.append(target)
            if len(renamed) == (2 if there else 1):
                raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(repository.os, "rename", rename)
    with pytest.raises(OSError, match="No space"):
        write_repository([bundle], output, Placing(threads=2), force=True)
    assert tree(tmp_path) == before
    assert (tmp_path / "new").exists() == there
    if there:
        assert "intra_op_thread_count" not in config(output / f"{bundle.name}-onnx")


def test_the_command_ends_with_2_and_leaves_nothing(bundle, tmp_path, capfd):
    def refused(*words: object) -> str:
        assert main(["triton", *map(str, words)]) == 2
        out, error = capfd.readouterr()
        assert out == ""
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    output = tmp_path / "models"
    assert "does not exist" in refused(tmp_path / "none", "-o", output)
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:-1] + b"?")
    assert "was altered" in refused(bundle, damaged, "-o", output)
    twin = shutil.copytree(bundle, tmp_path / "else" / bundle.name)
    assert "two models would be named" in refused(bundle, twin, "-o", output)
    odd = shutil.copytree(bundle, tmp_path / "a b")
    assert "cannot be a model's name" in refused(odd, "-o", output)
    assert "is not known" in refused(bundle, "-o", output, "--backend", "caffe")
    assert "see harmonyrt triton --help" in refused(bundle, "-o", output, "--instances", "0")
    assert not output.exists()
    (tmp_path / "file").write_text("")
    assert "is no folder" in refused(bundle, "-o", tmp_path / "file")


def test_the_command_prints_the_folders(bundle, tmp_path, capfd):
    output = tmp_path / "models"
    assert main(["triton", str(bundle), "-o", str(output), "--target", "onnx", "--instances", "2"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        str(output / f"{bundle.name}-{kind}") for kind in ("onnx", "harmonize")
    ]
    assert "count: 2" in config(output / f"{bundle.name}-harmonize")
    assert main(["triton", str(bundle), "-o", str(tmp_path / "b"), "--only", "harmonize", "--device", "cuda"]) == 0
    assert [path.name for path in (tmp_path / "b").iterdir()] == [f"{bundle.name}-harmonize"]
