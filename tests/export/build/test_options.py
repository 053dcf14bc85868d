"""One parser for all families, with the model's word anywhere among the options."""

from __future__ import annotations

import pytest

from harmonyrt.export.build.options import FAMILIES, model_first, parse, parser_of
from harmonyrt.export.build_engines import main

MODELS = tuple(FAMILIES)
PARSERS = tuple(map(parser_of, FAMILIES))


@pytest.mark.parametrize(
    "line",
    [
        "--output X diffharmony --random-weights tiny",
        "--output=X diffharmony --random-weights tiny",
        "--precisions fp32 fp16 diffharmony --output X",
        "--steps 5 1 diffharmony",
        "--dry-run diffharmony --force",
        "--json --random-weights tiny --inference-size 64 diffharmony",
        "--help diffharmony",
        "-h diffharmony",
        "--output phnet diffharmony",
        "--output X --checkpoint phnet --base phnet diffharmony",
        "--targets onnx --output X diffharmony",
    ],
)
def test_it_is_found_behind_any_option(line):
    words = line.split()
    arranged = model_first(words, MODELS, PARSERS)
    assert arranged[0] == "diffharmony"
    rest = list(words)
    del rest[len(words) - 1 - words[::-1].index("diffharmony")]
    assert arranged[1:] == rest


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("--tune 5 phnet", "phnet"),
        ("--tune phnet", "phnet"),
        ("--sizes 256 512 phnet --targets onnx", "phnet"),
        ("--optimization-level -1 phnet", "phnet"),
        ("--rewrites none phnet", "phnet"),
        ("phnet --output diffharmony", "phnet"),
        ("phnet --sizes 256", "phnet"),
        ("pih --sizes 256", "pih"),
        ("--force phnet --sizes 256", "phnet"),
    ],
)
def test_values_are_not_taken_for_it(line, first):
    assert model_first(line.split(), MODELS, PARSERS)[0] == first


@pytest.mark.parametrize("line", ["", "--sizes 256", "--output phnet", "--help"])
def test_without_one_nothing_moves(line):
    assert model_first(line.split(), MODELS, PARSERS) == line.split()


@pytest.mark.parametrize(
    "words",
    [
        ["--output", "X", "diffharmony", "--random-weights", "tiny", "--inference-size", "64", "--dry-run"],
        ["--dry-run", "--precisions", "fp32", "diffharmony", "--random-weights", "tiny", "--output", "X"],
    ],
)
def test_the_build_takes_any_order(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0
    assert "X/diffharmony-random-" in capsys.readouterr().out


def test_the_build_of_phnet_takes_any_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--sizes", "64", "--output", "X", "phnet", "--dry-run"]) == 0
    assert "X/phnet-64-fp32" in capsys.readouterr().out


@pytest.mark.parametrize("model", FAMILIES)
def test_every_option_has_help(model):
    assert all(action.help for action in parser_of(model)._actions)


def test_shared_options_are_the_same_for_every_family():
    options = [{o for action in parser._actions for o in action.option_strings} for parser in PARSERS]
    shared = {"--precisions", "--targets", "--output", "--compute-capabilities", "--threads", "--dry-run", "--force"}
    assert all(shared | {"--json", "--help"} <= found for found in options)


def test_weight_streaming_is_told_to_the_builders_and_makes_another_bundle():
    plain, streaming = (
        parsed.family.recipes(parsed)[0]
        for more in ([], ["--weight-streaming"])
        for parsed in [parse(["diffharmony", "--random-weights", "tiny", "--targets", "onnx", *more])]
    )
    assert not plain.options.weight_streaming
    assert streaming.options.weight_streaming
    assert plain.facts() != streaming.facts()
