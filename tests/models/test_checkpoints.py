"""load_phnet: released and foreign files, and what it says of the ones that it refuses."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from harmonyrt.common import HarmonyError, HarmonyWarning
from harmonyrt.models import FFHQH, IHARMONY4, PHNet, PHNetConfig, load_phnet
from harmonyrt.models.meaning import CARRIER, carrier


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return PHNet(IHARMONY4).state_dict()


def refusal(path) -> str:
    with pytest.raises(HarmonyError) as caught:
        load_phnet(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def saved(tmp_path, tensors, name="net.pth"):
    torch.save(tensors, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("config", [FFHQH, IHARMONY4], ids=["ffhqh", "iharmony4"])
def test_configuration_is_recognised_from_shapes(config, tmp_path):
    torch.manual_seed(0)
    network = PHNet(config)
    loaded = load_phnet(saved(tmp_path, network.state_dict()))
    assert loaded.config == config
    assert not loaded.training
    for (name, want), got in zip(network.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(want, got), name


@pytest.mark.parametrize("grids", [(2, 1), (10, 5, 1), (4, 3, 2, 1), (5, 4, 3, 2, 1), (6, 5, 4, 3, 2, 1)])
def test_every_depth_of_patch_normalization_opens(grids, tmp_path):
    """D6 alone to D2..6; the paper's table has D6 to D3..6 (the last entry belongs to no stage)."""
    config = PHNetConfig(enc_sizes=(3, 8, 8, 8, 8, 8, 16), grid_count=grids)
    network = PHNet(config).eval()
    loaded = load_phnet(saved(tmp_path, network.state_dict()))
    assert loaded.config == config
    image, mask = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(image, mask), network(image, mask))


def test_a_network_without_pfe_opens_as_what_it_is(tmp_path):
    config = dataclasses.replace(IHARMONY4, extractor=False)
    network = PHNet(config).eval()
    with pytest.warns(HarmonyWarning, match="no feature extractor"):
        loaded = load_phnet(saved(tmp_path, network.state_dict()), output="sigmoid")
    assert loaded.config == config
    image, mask = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(image, mask), network(image, mask))


def test_a_file_that_says_it_has_pfe_and_has_not_is_refused(state, tmp_path):
    left = {k: v for k, v in state.items() if not k.startswith("feature_extractor.")}
    assert "feature_extractor" in refusal(saved(tmp_path, {**left, CARRIER: carrier(IHARMONY4)}))


def test_safetensors_in_half_precision_with_output_form(state, tmp_path):
    path = tmp_path / "net.safetensors"
    save_file({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path, {"output": "residual"})
    loaded = load_phnet(path)
    assert loaded.config == dataclasses.replace(IHARMONY4, output="residual")
    assert next(loaded.parameters()).dtype == torch.float32
    assert load_phnet(path, output="sigmoid").config.output == "sigmoid"


def test_shrinkages_come_from_the_file(state, tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(state, path, {"patch_shrinkage": "0.01", "change_shrinkage": "0.2"})
    loaded = load_phnet(path)
    assert loaded.config == dataclasses.replace(IHARMONY4, patch_shrinkage=0.01, change_shrinkage=0.2)
    assert [normalizer.patch_shrinkage for normalizer in loaded.normalizers] == [0.01] * 3


@pytest.mark.parametrize("name", ["patch_shrinkage", "change_shrinkage"])
@pytest.mark.parametrize("text", ["much", "-0.5", "2", "nan"])
def test_a_shrinkage_that_is_no_share_is_named(name, text, state, tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(state, path, {name: text})
    assert f"{name} {text!r}" in refusal(path)


def test_wrappers_and_module_prefix_come_off(state, tmp_path):
    wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    assert load_phnet(saved(tmp_path, wrapped)).config == IHARMONY4


@pytest.mark.parametrize("name", ["encoder.3.0.weight", "normalizers.0.grid_weights", "skip.6.rconv.weight"])
def test_missing_tensor_is_named(name, state, tmp_path):
    message = refusal(saved(tmp_path, {k: v for k, v in state.items() if k != name}))
    assert name in message
    assert "missing" in message


def test_misshapen_tensor_is_named(state, tmp_path):
    message = refusal(saved(tmp_path, {**state, "decoder.4.0.bias": torch.zeros(7)}))
    assert "decoder.4.0.bias" in message
    assert "[7]" in message


def test_unexpected_tensor_is_named(state, tmp_path):
    assert "extra.weight" in refusal(saved(tmp_path, {**state, "extra.weight": torch.zeros(1)}))


def test_nan_is_refused(state, tmp_path):
    bias = torch.full_like(state["decoder.0.0.bias"], float("nan"))
    assert "decoder.0.0.bias" in refusal(saved(tmp_path, {**state, "decoder.0.0.bias": bias}))


def test_variance_that_overflowed_is_a_warning_and_a_constant_channel(state, tmp_path):
    variance = state["decoder.1.1.running_var"].clone()
    variance[3] = float("inf")
    path = saved(tmp_path, {**state, "decoder.1.1.running_var": variance})
    with pytest.warns(UserWarning, match="1 values of decoder.1.1.running_var"):
        network = load_phnet(path)
    assert torch.isfinite(network(torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32))).all()


def test_foreign_network_is_named_as_such(tmp_path):
    assert "not a PHNet checkpoint" in refusal(saved(tmp_path, {"conv1.weight": torch.zeros(3)}))


def test_pickled_objects_are_not_opened(tmp_path):
    assert "could run code" in refusal(saved(tmp_path, torch.nn.Linear(2, 2)))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"PK\x03\x04broken", b"\x18\x3f\x01\x00", b"\x18\x3f\x01\x00\x00\x00\x00\x00"],
    ids=["empty", "text", "cut zip", "safetensors cut in its length", "safetensors cut after its length"],
)
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_damaged_files(content, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    assert "could run code" not in refusal(path)


def test_truncated_file(state, tmp_path):
    path = saved(tmp_path, state)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refusal(path)


def test_missing_file_and_folder(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.pth")
    assert "not a file" in refusal(tmp_path)


@pytest.mark.parametrize("content", [{}, [1, 2], {"a": 1}], ids=["empty", "list", "numbers"])
def test_things_that_are_no_state_dict(content, tmp_path):
    refusal(saved(tmp_path, content))
