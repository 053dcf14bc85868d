"""What a build says about where its parts came from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.export.build.recipe import file_sha256
from harmonyrt.export.build.summary import source_lines
from harmonyrt.export.build_engines import main
from harmonyrt.export.diffharmony.recipe import Source
from harmonyrt.runtime.bundle import open_bundle


def part(folder: Path, name: str, config: str = "config.json", weights: bytes = b"") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / config).write_text("{}")
    if weights:
        (folder / f"{name}.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def folders(tmp_path):
    """A tuned UNet's own folder, and a base that has a UNet too."""
    part(tmp_path / "tuned", "diffusion_pytorch_model", weights=b"tuned")
    part(tmp_path / "base" / "unet", "diffusion_pytorch_model", weights=b"base")
    part(tmp_path / "base" / "vae", "diffusion_pytorch_model.fp16", weights=b"vae")
    part(tmp_path / "base" / "text_encoder", "model", weights=b"text")
    part(tmp_path / "base" / "scheduler", "", "scheduler_config.json")
    return tmp_path


def test_each_part_names_its_file_and_hash(folders):
    found = Source(folders / "tuned", base=folders / "base").provenance()
    assert found["unet"] == [
        {"path": "tuned/diffusion_pytorch_model.safetensors", "sha256": hashlib.sha256(b"tuned").hexdigest()}
    ]
    assert found["vae"][0]["path"] == "base/vae/diffusion_pytorch_model.fp16.safetensors"
    assert found["scheduler"][0]["path"] == "base/scheduler/scheduler_config.json"
    assert str(folders) not in str(found)
    assert (
        f"unet: tuned/diffusion_pytorch_model.safetensors (sha256 {found['unet'][0]['sha256'][:12]}…)"
        in source_lines(found)
    )


def test_random_weights_come_from_no_file():
    assert Source(random="tiny").provenance() == {}


def test_a_part_without_weights_is_named(folders):
    (folders / "base" / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    with pytest.raises(HarmonyError, match="vae has no weights"):
        Source(folders / "tuned", base=folders / "base").provenance()


def test_a_file_that_changed_is_hashed_again(folders):
    path = folders / "tuned" / "diffusion_pytorch_model.safetensors"
    before = file_sha256(path)
    path.write_bytes(b"tuned again")
    assert file_sha256(path) == hashlib.sha256(b"tuned again").hexdigest() != before


@pytest.fixture
def whole(tmp_path):
    """A whole tiny folder in diffusers layout, and a tuned UNet's own."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from harmonyrt.export.diffharmony.random_weights import random_diffharmony
    from harmonyrt.models.diffharmony.text import TextConfig, TextEncoder

    model = random_diffharmony("tiny")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    unet, vae = asdict(model.unet.config), asdict(model.vae.config)
    unet |= {"attention_head_dim": list(unet.pop("heads"))}
    assert unet.pop("attention") == (True, True, True, False)  # what its file need not say
    torch.manual_seed(0)
    for name, config, state in (
        ("base/unet", unet, model.unet.state_dict()),
        ("base/vae", vae, model.vae.state_dict()),
        ("base/text_encoder", sizes, TextEncoder(TextConfig(**sizes)).state_dict()),
        ("tuned", unet, {key: value * 1.25 for key, value in model.unet.state_dict().items()}),
    ):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        stem = "model" if "text" in name else "diffusion_pytorch_model"
        save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / name / f"{stem}.safetensors")
    (tmp_path / "base" / "scheduler").mkdir()
    (tmp_path / "base" / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "PNDMScheduler"}')
    return tmp_path


def _build(folder: Path, *more: str) -> int:
    line = ["--checkpoint", str(folder / "tuned"), "--base", str(folder / "base"), "--inference-size", "64"]
    return main(["diffharmony", *line, "--steps", "1", "--threads", "1", "--output", str(folder / "out"), *more])


@pytest.mark.slow
def test_a_build_says_and_records_where_its_parts_came_from(whole, capsys):
    assert _build(whole) == 0
    said = capsys.readouterr()
    sha256 = file_sha256(whole / "tuned" / "diffusion_pytorch_model.safetensors")
    line = f"unet: tuned/diffusion_pytorch_model.safetensors (sha256 {sha256[:12]}…)"
    assert f"from {line}\n" in said.out
    assert line in said.err
    config = open_bundle(whole / "out" / "diffharmony-64-fp32").manifest.model.config
    assert config["sources"]["unet"] == [{"path": "tuned/diffusion_pytorch_model.safetensors", "sha256": sha256}]
    assert config["sources"].keys() == {"unet", "vae", "scheduler", "text_encoder"}


def test_parts_of_different_kinds_leave_nothing_behind(whole, capsys):
    path = whole / "tuned" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"in_channels": 4}))
    assert _build(whole) == 2
    assert "takes 4 channels" in capsys.readouterr().err.splitlines()[-1]
    assert not (whole / "out").exists() or not any((whole / "out").iterdir())
