"""`harmonyrt bench`: what it times and keeps, and what it refuses before it measures. No assertion is on a time."""

import json

import pytest

QUICK = ("--backend", "onnxruntime", "--threads", 1, "--rounds", 1, "--seconds", 0.001)


def test_engine_and_whole_calls_are_kept_and_drawn(run, bundle, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib draws the plot")
    pictures = ("--picture", "40x60", "--picture", "50")
    kept = ("--save", tmp_path / "run.json", "--plot", tmp_path / "run.svg", "--name", "small")
    ended = run("bench", bundle, *QUICK, *pictures, *kept)
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "run.json").read_text())
    found = [(m["subject"]["kind"], m["subject"]["height"], m["subject"]["width"]) for m in report["measured"]]
    assert found == [("engine", 32, 32), ("picture", 40, 60), ("picture", 50, 50)]
    assert set(report["measured"][1]["stages"]) == {"decode", "fit", "engine", "carry_back"}
    assert report["name"] == "small"
    assert "</svg>" in (tmp_path / "run.svg").read_text()
    assert "end to end" in ended.out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--plot", "run.xyz"], "give a name that ends in .png or .svg"),
        (["--compare"], "needs at least two bundles"),
        (["--picture", "0x5"], "give height x width"),
        (["--backend", "tensorrt", "--backend", "onnxruntime", "--backend", "nonsense"], "'nonsense' is not known"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(run, bundle, options, sentence):
    pytest.importorskip("matplotlib", reason="--plot asks for it first")
    ended = run("bench", bundle, *QUICK[2:], *options)
    assert ended.code == 2
    assert sentence in ended.err.splitlines()[-1]
