"""What a build says about where its parts came from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.export.diffharmony.provenance import lines, provenance
from harmonyrt.export.diffharmony.recipe import Source, file_sha256


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
    found = provenance(Source(folders / "tuned", base=folders / "base"))
    assert found["unet"] == [
        {"path": "tuned/diffusion_pytorch_model.safetensors", "sha256": hashlib.sha256(b"tuned").hexdigest()}
    ]
    assert found["vae"][0]["path"] == "base/vae/diffusion_pytorch_model.fp16.safetensors"
    assert found["scheduler"][0]["path"] == "base/scheduler/scheduler_config.json"
    assert str(folders) not in str(found)
    assert f"unet: tuned/diffusion_pytorch_model.safetensors (sha256 {found['unet'][0]['sha256'][:12]}…)" in lines(
        found
    )


def test_random_weights_come_from_no_file():
    assert provenance(Source(random="tiny")) == {}


def test_a_part_without_weights_is_named(folders):
    (folders / "base" / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    with pytest.raises(HarmonyError, match="vae has no weights"):
        provenance(Source(folders / "tuned", base=folders / "base"))


def test_a_file_that_changed_is_hashed_again(folders):
    path = folders / "tuned" / "diffusion_pytorch_model.safetensors"
    before = file_sha256(path)
    path.write_bytes(b"tuned again")
    assert file_sha256(path) == hashlib.sha256(b"tuned again").hexdigest() != before
