"""Folders as users have them, and the errors for folders that are not as they should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harmonyrt.common import HarmonyError, HarmonyWarning
from harmonyrt.models import diffharmony as dh
from harmonyrt.models.diffharmony.parts import find_parts

OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def write(folder: Path, config: dict, state: dict[str, torch.Tensor], suffix: str = ".safetensors", stem="") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / f"{stem or 'diffusion_pytorch_model'}{suffix}"
    save_file({k: v.contiguous() for k, v in state.items()}, path) if suffix == ".safetensors" else torch.save(
        state, path
    )
    return folder


@pytest.fixture(scope="session")
def meta(golden):
    return golden.case("dh_pipeline_cvae_128to64_b1")["meta"]


@pytest.fixture
def vae(golden_network, golden):
    return golden_network("vae", golden.weights("dh_vae_tiny_state_dict.json")[1])


@pytest.fixture
def vae_config(golden):
    return golden.weights("dh_vae_tiny_state_dict.json")[1]


@pytest.fixture
def released(tmp_path, golden, golden_network, meta) -> Path:
    """A whole tiny folder: unet/, vae/, text_encoder/, scheduler/, and refiner/ and cvae/ next to them."""
    config = golden.weights("dh_vae_tiny_state_dict.json")[1]
    write(tmp_path / "unet", meta["unet"], golden_network("unet", meta["unet"]).state_dict())
    write(tmp_path / "vae", config, golden_network("vae", config).state_dict(), ".bin")
    write(tmp_path / "cvae", meta["vae"], golden_network("harmony_vae", meta["vae"]).state_dict())
    refiner = dict(meta["refiner"], in_channels=3)  # as the published configurations say
    write(tmp_path / "refiner", refiner, golden_network("refiner", meta["refiner"]).state_dict())
    config = golden.weights("dh_clip_tiny_state_dict.json")[1]
    state = {f"text_model.{k}": v for k, v in golden_network("text", config).state_dict().items()}
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    write(tmp_path / "text_encoder", config, state, stem="model")
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(meta["scheduler"]))
    return tmp_path


def test_a_released_folder_runs_like_the_golden_case(released, dh_case, golden):
    case = dh_case("dh_pipeline_cvae_128to64_b1")
    model = dh.load_diffharmony(released, harmony_vae=released / "cvae", refiner=released / "refiner")
    assert model.sampler.timestep_spacing == "linspace"
    assert float((model.text - case["prompt_embeds"]).abs().max()) < 5e-5
    draws = [case[f"draw{index}_{tag}"] for index, tag in enumerate(case["draw_order"])]
    noise = dh.Noise(draws[0], draws[1], tuple(draws[2:7]), draws[7])
    trace = model.harmonize(case["image"].float() / 127.5 - 1, case["mask"].float(), noise)
    assert float((trace.decoded - case["decoder_raw"]).abs().max()) <= 2e-4


def test_a_unet_alone_takes_the_rest_from_its_base(released):
    tuned = released.parent / "tuned"
    (released / "unet").rename(tuned)
    assert not dh.load_diffharmony(tuned, base=released).conditional
    with pytest.raises(HarmonyError, match="has no subfolder vae/"):
        dh.load_diffharmony(tuned)


def test_a_resaved_scheduler_is_obeyed(released):
    path = released / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(dict(json.loads(path.read_text()), timestep_spacing="leading")))
    assert dh.load_sampler(released / "scheduler").timestep_spacing == "leading"
    path.write_text(json.dumps(dict(json.loads(path.read_text()), prediction_type="v_prediction")))
    with pytest.raises(HarmonyError, match="prediction_type is 'v_prediction'; only 'epsilon'"):
        dh.load_sampler(released / "scheduler")


@pytest.mark.parametrize("square", [False, True])
def test_old_attention_names(square, tmp_path, vae, vae_config):
    old = {}
    for name, tensor in vae.state_dict().items():
        for new, former in OLD_NAMES.items():
            if f"attentions.0.{new}." in name:
                name = name.replace(f"attentions.0.{new}.", f"attentions.0.{former}.")
                tensor = tensor[:, :, None, None] if square and name.endswith("weight") else tensor
        old[name] = tensor
    loaded = dh.load_vae(write(tmp_path / "vae", vae_config, old, ".bin"))
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), vae.state_dict().values(), strict=True))


def test_shards(tmp_path, vae, vae_config):
    folder, names = tmp_path / "vae", list(vae.state_dict())
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(vae_config))
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: vae.state_dict()[name].contiguous() for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(dh.load_vae(folder).quant_conv.weight, vae.quant_conv.weight)
    index["weight_map"][names[0]] = "../a.safetensors"
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(HarmonyError, match="names no shards in its own folder"):
        dh.load_vae(folder)


def test_half_precision_files_load_as_float32(tmp_path, vae, vae_config):
    halves = {name: tensor.half() for name, tensor in vae.state_dict().items()}
    folder = write(tmp_path / "vae", vae_config, halves, stem="diffusion_pytorch_model.fp16")
    assert dh.load_vae(folder).quant_conv.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, c: s.pop("quant_conv.bias"), r"tensor quant_conv\.bias \[8\] is missing"),
        (lambda s, c: s.update({"more": torch.zeros(1)}), "tensor more is unexpected"),
        (lambda s, c: s.update({"quant_conv.bias": torch.zeros(7)}), r"has shape \[7\], config\.json asks for \[8\]"),
        (lambda s, c: s.update({"quant_conv.bias": torch.full((8,), torch.nan)}), "NaN"),
        (lambda s, c: c.update({"block_out_channels": [32, 33]}), "describes no possible network"),
        (lambda s, c: c.update({"act_fn": "gelu"}), "act_fn is 'gelu'; only 'silu'"),
        (lambda s, c: c.update({"layers_per_block": "two"}), "layers_per_block is 'two'"),
        (lambda s, c: c.update({"_class_name": "ConditionVAE"}), "has no tensor conditional_encoder"),
    ],
)
def test_what_is_wrong_is_named(change, words, tmp_path, vae, vae_config):
    state, config = dict(vae.state_dict()), dict(vae_config)
    change(state, config)
    with pytest.raises(HarmonyError, match=words):
        dh.load_vae(write(tmp_path / "vae", config, state))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(HarmonyError, match="is not a folder"):
        dh.load_diffharmony(tmp_path / "nowhere")
    with pytest.raises(HarmonyError, match=r"config\.json does not exist"):
        dh.load_unet(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(HarmonyError, match="cannot be read as JSON"):
        dh.load_unet(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(HarmonyError, match="has no weights"):
        dh.load_unet(tmp_path)


def test_pickles_run_no_code(tmp_path, vae_config):
    folder = tmp_path / "vae"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(vae_config))
    torch.save({"w": Path("x")}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(HarmonyError, match="could run code"):
        dh.load_vae(folder)


@pytest.mark.slow
def test_ours_equals_diffusers(released, golden, meta):
    """The same folder through diffusers gives the same numbers."""
    diffusers = pytest.importorskip("diffusers", reason="compares with diffusers")
    theirs = diffusers.UNet2DConditionModel.from_pretrained(released / "unet").eval()
    case = golden.case("dh_unet_tiny_16x16")
    x, text = torch.from_numpy(case["input"]), torch.from_numpy(case["encoder_hidden_states"])
    with torch.no_grad():
        expected = theirs(x, torch.tensor(499.5), text).sample
    found = dh.load_unet(released / "unet")(x, torch.tensor(499.5), text)
    assert float((found - expected).abs().max()) < 2e-5


@pytest.fixture
def tuned(released, tmp_path_factory) -> Path:
    """The folder of a UNet alone whose weights differ from the base's."""
    state = {k: v * 1.25 for k, v in dh.load_unet(released / "unet").state_dict().items()}
    return write(tmp_path_factory.mktemp("tuned"), json.loads((released / "unet" / "config.json").read_text()), state)


def _first(folder: Path) -> torch.Tensor:
    return dh.load_unet(folder).conv_in.weight


@pytest.mark.parametrize("layout", ["own", "unet", "unet_ema"])
def test_a_base_never_shadows_the_tuned_unet(layout, released, tuned, tmp_path_factory, recwarn):
    folder = tmp_path_factory.mktemp("given") / "given"
    shutil.copytree(tuned, folder if layout == "own" else folder / layout)
    model = dh.load_diffharmony(folder, base=released)
    assert torch.equal(model.unet.conv_in.weight, _first(tuned))
    said = [str(w.message) for w in recwarn if issubclass(w.category, HarmonyWarning)]
    assert len(said) == (layout == "unet_ema")


def test_a_unet_beside_its_average_is_told(released, tuned):
    shutil.copytree(tuned, released / "unet_ema")
    with pytest.warns(HarmonyWarning, match="unet/ was taken"):
        model = dh.load_diffharmony(released)
    assert torch.equal(model.unet.conv_in.weight, _first(released / "unet"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pytorch_lora_weights.safetensors", "LoRA"),
        ("model.safetensors", r"without a config\.json"),
        ("unet.ckpt", r"without a config\.json"),
        ("readme.md", "has no UNet"),
    ],
)
def test_a_folder_without_a_unet_does_not_get_the_bases(name, words, released, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    (folder / name).write_bytes(b"")
    with pytest.raises(HarmonyError, match=words):
        dh.load_diffharmony(folder, base=released)


def _narrowed(folder: Path, tensor: str, axis: int, count: int, **config: int) -> None:
    """Cut a part's weights and its configuration to another number of channels."""
    path = next(folder.glob("*.safetensors"))
    tensors = load_file(path)
    for name in [name for name in tensors if name.startswith(tensor)]:
        if tensors[name].ndim > axis:
            tensors[name] = tensors[name].narrow(axis, 0, count).contiguous()
    save_file(tensors, path)
    write_config = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(write_config))


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("unet", ("conv_in.weight", 1, 4, {"in_channels": 4}), "takes 4 channels .*plain Stable Diffusion.* takes 9"),
        ("unet", ("conv_in.weight", 1, 8, {"in_channels": 8}), "takes 8 channels, and DiffHarmony's takes 9"),
        ("unet", ("conv_out", 0, 3, {"out_channels": 3}), "outputs 3 channels"),
        ("refiner", ("conv_out", 0, 1, {"out_channels": 1}), "outputs 1 channels"),
    ],
)
def test_parts_that_do_not_belong_together(part, change, words, released):
    tensor, axis, count, config = change
    _narrowed(released / part, tensor, axis, count, **config)
    with pytest.raises(HarmonyError, match=words):
        dh.load_diffharmony(released, refiner=released / "refiner")


def test_parts_are_compared_before_weights_are_read(released):
    path = released / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"in_channels": 4}))
    for weights in released.rglob("*.safetensors"):
        weights.unlink()
    with pytest.raises(HarmonyError, match="takes 4 channels"):
        dh.load_diffharmony(released)


def test_a_plain_vae_is_no_harmony_vae(released):
    with pytest.raises(HarmonyError, match="plain VAE without a conditional encoder"):
        dh.load_diffharmony(released, harmony_vae=released / "vae")


@pytest.mark.parametrize("kind", ["DPMSolverMultistepScheduler", "LCMScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_schedulers_of_another_rule_are_refused(kind, released):
    path = released / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": kind}))
    with pytest.raises(HarmonyError, match=f"{kind}.*EulerAncestralDiscreteScheduler"):
        dh.load_diffharmony(released)


def test_each_part_names_its_files(released, tuned):
    files = find_parts(tuned, base=released, refiner=released / "refiner").files()
    assert files["unet"] == (tuned / "diffusion_pytorch_model.safetensors",)
    assert files["vae"] == (released / "vae" / "diffusion_pytorch_model.bin",)
    assert files["scheduler"] == (released / "scheduler" / "scheduler_config.json",)
    assert files.keys() == {"unet", "vae", "scheduler", "text_encoder", "refiner"}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "unet."])
def test_prefixes_come_off_parts_too(prefix, tmp_path, vae, vae_config):
    state = {f"{prefix}{name}": tensor for name, tensor in vae.state_dict().items()}
    loaded = dh.load_vae(write(tmp_path / "vae", vae_config, state))
    assert torch.equal(loaded.quant_conv.weight, vae.quant_conv.weight)
