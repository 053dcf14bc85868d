"""What weights mean survives the tools that drop a file's metadata; what a file does not say is assumed aloud."""

import copy
import dataclasses
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from harmonyrt.common import HarmonyError, HarmonyWarning
from harmonyrt.models import PHNet, PHNetConfig, load_phnet
from harmonyrt.models.checkpoints import Meaning, open_phnet
from harmonyrt.models.meaning import CARRIER, PREFIX, carrier, without_carrier
from harmonyrt.training.shipping import ship

CONFIG = PHNetConfig(
    enc_sizes=(3, 8, 8, 8, 8, 8, 16),
    grid_count=(2, 2, 1),
    output="residual",
    patch_shrinkage=0.02,
    change_shrinkage=0.1,
    trained_sizes=(64, 256),
)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return PHNet(CONFIG).state_dict()


@pytest.fixture
def shipped(state, tmp_path):
    return load_file(ship(state, CONFIG, tmp_path / "shipped.safetensors"))


def test_a_loaded_network_passes_its_meaning_on(shipped, tmp_path):
    torch.save(shipped, tmp_path / "w.pth")
    network = load_phnet(tmp_path / "w.pth")
    assert network.state_dict().keys() == shipped.keys()
    for wrapped in (network, copy.deepcopy(network), torch.nn.DataParallel(network)):
        torch.save(wrapped.state_dict(), tmp_path / "again.pth")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = load_phnet(tmp_path / "again.pth")
        assert again.config == CONFIG
    PHNet(CONFIG).load_state_dict(network.state_dict(), strict=True)
    torch.nn.Sequential(PHNet(CONFIG)).load_state_dict(torch.nn.Sequential(network).state_dict(), strict=True)


def test_a_file_that_says_nothing_gives_a_plain_state_dict(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    network = load_phnet(tmp_path / "w.pth", output="residual")
    assert network.state_dict().keys() == state.keys()


def half(tensors):
    return {name: tensor.half() for name, tensor in tensors.items()}


COPIES = {
    "tensors alone": lambda t: t,
    "float16": half,
    "bfloat16": lambda t: {name: tensor.bfloat16() for name, tensor in t.items()},
    "float32": lambda t: {name: tensor.float() for name, tensor in t.items()},
    "through float16 to float32": lambda t: {name: tensor.float() for name, tensor in half(t).items()},
    "mean with itself": lambda t: {name: torch.lerp(tensor.float(), tensor.float(), 0.3) for name, tensor in t.items()},
    "in a wrapper": lambda t: {"state_dict": {f"module.{name}": tensor for name, tensor in t.items()}},
}


@pytest.mark.parametrize("changed", COPIES.values(), ids=COPIES)
def test_copies_without_metadata_are_the_same_network(changed, shipped, tmp_path):
    torch.save(changed(shipped), tmp_path / "copy.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = load_phnet(tmp_path / "copy.pth").config
    assert config == CONFIG
    assert config.trained_sizes == (64, 256)


def test_metadata_alone_is_enough(state, tmp_path):
    written = {"output": "residual", "patch_shrinkage": "0.02", "change_shrinkage": "0.1", "trained_sizes": "[64, 256]"}
    save_file(state, tmp_path / "w.safetensors", written)
    config = load_phnet(tmp_path / "w.safetensors").config
    assert (config, config.trained_sizes) == (CONFIG, (64, 256))


def test_the_carrier_is_dropped_by_its_prefix(shipped):
    assert [name for name in shipped if name.startswith(PREFIX)] == [CARRIER]
    PHNet(CONFIG).load_state_dict(without_carrier(shipped), strict=True)


def test_a_file_that_says_nothing_is_assumed_sigmoid_aloud(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    with pytest.warns(HarmonyWarning, match="output sigmoid.*--network-output residual"):
        assert load_phnet(tmp_path / "w.pth").config.output == "sigmoid"
    assert len(open_phnet(tmp_path / "w.pth").notes) == 1


def test_the_caller_says_otherwise(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    opened = open_phnet(tmp_path / "w.pth", Meaning("residual", 0.02, 0.1))
    assert opened.network.config == CONFIG
    assert opened.notes == ()


@pytest.mark.parametrize("given", [Meaning("both"), Meaning("residual", patch_shrinkage=1.5)])
def test_a_meaning_that_cannot_be_is_refused(given, state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(HarmonyError, match=r"both|1\.5"):
        open_phnet(tmp_path / "w.pth", given)


def test_tensors_and_metadata_that_disagree_are_refused(shipped, tmp_path):
    save_file(shipped, tmp_path / "w.safetensors", {"output": "sigmoid"})
    with pytest.raises(HarmonyError, match=r"'residual' in its tensor .* 'sigmoid' in its metadata.*--network-output"):
        load_phnet(tmp_path / "w.safetensors")
    assert load_phnet(tmp_path / "w.safetensors", output="residual").config == CONFIG


def test_a_merge_of_files_that_differ_is_refused(state, shipped, tmp_path):
    other = {**state, CARRIER: carrier(dataclasses.replace(CONFIG, change_shrinkage=0.2, trained_sizes=(64, 272)))}
    merged = {name: (tensor.float() + other[name].float()) / 2 for name, tensor in shipped.items()}
    torch.save(merged, tmp_path / "w.pth")
    with pytest.raises(HarmonyError, match=f"{CARRIER}.*damaged"):
        load_phnet(tmp_path / "w.pth")
    opened = open_phnet(tmp_path / "w.pth", Meaning("residual", 0.02, 0.15))
    assert opened.network.config == dataclasses.replace(CONFIG, change_shrinkage=0.15)


@pytest.mark.parametrize("sizes", ["256", '["a"]', "[0]", "[true]", "[1e9]", "{}"])
def test_trained_sizes_that_are_none_are_refused(sizes, state, tmp_path):
    save_file(state, tmp_path / "w.safetensors", {"output": "residual", "trained_sizes": sizes})
    with pytest.raises(HarmonyError, match="trained_sizes"):
        load_phnet(tmp_path / "w.safetensors")
