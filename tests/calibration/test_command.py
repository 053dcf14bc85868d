"""`harmonyrt calibrate`, from the command line."""

import json

import pytest

from harmonyrt.cli.main import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny PHNet whose output changes the picture."""
    torch = pytest.importorskip("torch")
    from harmonyrt.models import PHNet, PHNetConfig

    torch.manual_seed(0)
    network = PHNet(PHNetConfig(enc_sizes=(3, 8, 8, 8, 8, 8, 16), grid_count=(2, 2, 1)))
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.slow
def test_table_files_and_json(checkpoint, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="draws the plot")
    output = tmp_path / "run"
    command = ["calibrate", "--checkpoint", str(checkpoint), "-o", str(output)]
    code = main([*command, "--size", "32", "--count", "6", "--least-db", "10", "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    found = json.loads(printed.out)
    assert found["method"] == "mse"
    assert [layer["name"] for layer in found["layers"] if layer["int8"]]
    saved = json.loads((output / "calibration.json").read_text())
    assert {key: saved[key] for key in found} == found
    assert (output / "sensitivity.png").is_file()
    assert "sensitivity.png" in printed.err
    assert "warning: tiny.pth does not say whether its network predicts a picture or a change" in printed.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--composites", "somewhere"], "pass both --composites and --masks, or neither"),
        (["--size", "100"], "size 100 cannot be built"),
        (["--checkpoint", "absent.pth"], "absent.pth does not exist"),
        (["--network-output", "tanh", "--count", "4", "--size", "32"], "output 'tanh' is not known"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, sentence, tmp_path, capsys):
    assert main(["calibrate", "-o", str(tmp_path / "run"), *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()
