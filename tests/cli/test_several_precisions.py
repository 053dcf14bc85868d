"""A bundle with engines of several precisions, as every verb that opens bundles takes it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fakes.altered import altered_copy, measured
from harmonyrt.fleet.bundles import bundle_source
from harmonyrt.fleet.work import Engine, HarmonizeJob
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.manifest import Manifest
from harmonyrt.serving.settings import Settings

PRECISIONS = ("fp32", "int8")


@pytest.fixture
def several(bundle, tmp_path):
    """The hand-made bundle with its engine twice, in the folder of each precision."""

    def change(manifest):
        (engine,) = manifest["engines"]
        (file,) = engine["files"]
        manifest["engines"] = [
            {**engine, "precision": precision, "files": [{**file, "path": f"{precision}/{file['path']}"}]}
            for precision in PRECISIONS
        ]
        manifest.update(schema=2, measurements=[measured("onnxruntime", "onnx", 3.0, precision="int8")])

    copy = altered_copy(bundle, tmp_path, change)
    for precision in PRECISIONS:
        (copy / precision).mkdir()
        shutil.copyfile(copy / "model.onnx", copy / precision / "model.onnx")
    (copy / "model.onnx").unlink()
    return copy


def test_info_lists_the_engines_and_what_was_timed(run, several):
    ended = run("info", several)
    assert ended.code == 0
    for words in (
        "schema 2",
        "precision   fp32, int8 (open one with --precision)",
        "onnx int8, run by",
        "(onnx int8),",
    ):
        assert words in ended.out
    assert Manifest.from_json(run("info", several, "--json").out) == open_bundle(several).manifest


def test_half_of_a_bundle_is_one_sentence(run, several):
    shutil.rmtree(several / "int8")
    ended = run("info", several)
    assert ended.code == 2
    assert "int8/model.onnx is missing from the bundle; build the bundle again" in ended.error


def test_harmonize_opens_the_precision_that_is_asked_for(run, several, place):
    def opened(*more):
        common = ("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", several)
        return run(*common, "--backend", "onnxruntime", "--json", *more)

    assert json.loads(opened().out)["engine"]["precision"] == "fp32"
    assert json.loads(opened("--precision", "int8").out)["engine"]["precision"] == "int8"
    ended = opened("--precision", "bf16")
    assert (ended.code, ended.out) == (2, "")
    assert "precision bf16: found onnx fp32, onnx int8; build one with" in ended.error
    assert "precision 'half' is not known" in opened("--precision", "half").error


def test_bench_times_precisions_side_by_side(run, several):
    quick = ("--backend", "onnxruntime", "--threads", 1, "--rounds", 1, "--seconds", 0.001)
    ended = run("bench", several, *quick, "--precision", "fp32", "--precision", "int8", "--json")
    assert ended.code == 0, ended.err
    assert [row["about"]["precision"] for row in json.loads(ended.out)["measured"]] == ["fp32", "int8"]


def test_evaluate_scores_the_precision_that_is_asked_for(run, several, place):
    for folder, level in (("composite_images", 200), ("masks", 255), ("real_images", 180)):
        (place / folder).mkdir()
        name = {"composite_images": "a_1_1", "masks": "a_1", "real_images": "a"}[folder]
        Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(place / folder / f"{name}.png")
    (place / "x_test.txt").write_text("a_1_1.png\n")
    ended = run("evaluate", place, "--bundle", several, "--precision", "int8", "--report", place / "r.json", "--json")
    assert ended.code == 0, ended.err
    assert '"int8"' in (place / "r.json").read_text()


def test_triton_gets_every_engine_or_those_of_one_precision(run, several, tmp_path):
    ended = run("triton", several, "-o", tmp_path / "all")
    assert ended.code == 0, ended.err
    names = sorted(path.name for path in (tmp_path / "all").iterdir())
    name = several.name
    assert names == [f"{name}-harmonize", f"{name}-onnx", f"{name}-onnx-int8"]
    for model in names[1:]:
        assert (tmp_path / "all" / model / "1" / "model.onnx").is_file()
        assert 'default_model_filename: "model.onnx"' in (tmp_path / "all" / model / "config.pbtxt").read_text()
    assert open_bundle(tmp_path / "all" / names[0] / "1" / "bundle").manifest == open_bundle(several).manifest

    assert run("triton", several, "-o", tmp_path / "one", "--precision", "int8").code == 0
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [f"{name}-harmonize", f"{name}-onnx"]
    config = (tmp_path / "one" / f"{name}-harmonize" / "config.pbtxt").read_text()
    assert 'key: "precision"' in config.replace("\n", " ")
    assert "'half' is not known" in run("triton", several, "-o", tmp_path / "none", "--precision", "half").error


def test_a_server_and_a_worker_open_the_precision_that_is_asked_for(several, tmp_path):
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    from harmonyrt.serving.service import Service

    for precision in PRECISIONS:
        settings = Settings((several,), port=0, threads=1, backend="onnxruntime", precision=precision)
        (model,) = Service.open(settings).models.by_name.values()
        assert model.harmonizer.info.precision == precision
        engine = Engine("onnxruntime", threads=1, precision=precision)
        worker = HarmonizeJob(bundle_source(str(several)), str(tmp_path / "out"), engine=engine).open()
        assert worker.__self__.harmonizer.info.precision == precision


def test_results_of_another_precision_are_not_kept_by_resume(several):
    source = bundle_source(str(several))
    jobs = [HarmonizeJob(source, "out", engine=Engine(precision=one)) for one in (None, "fp32", "int8")]
    hashes = [job.settings_sha256 for job in jobs]
    assert len(set(hashes)) == 3
    assert hashes[0] == jobs[0].settings.sha256  # as in runs of earlier versions
