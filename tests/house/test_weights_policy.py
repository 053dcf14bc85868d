"""Git keeps at most one new version of a weights file per release (CONTRIBUTING.md)."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("weights_policy", Path(__file__).with_name("weights_policy.py"))
policy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(policy)

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")


def commit(repository: Path, name: str, content: str) -> str:
    file = repository / name
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(content)
    policy.git(repository, "add", name)
    policy.git(repository, *IDENTITY, "commit", "--quiet", "--message", name)
    return policy.git(repository, "rev-parse", "HEAD").strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    policy.git(folder, "init", "--quiet")
    commit(folder, "weights/a.safetensors", "before the policy, 1")
    return folder, commit(folder, "weights/a.safetensors", "before the policy, 2")


def test_this_history_keeps_the_policy():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    assert not policy.offences(ROOT)


def test_one_new_version_is_fine_and_two_are_not(repository):
    folder, before = repository
    commit(folder, "weights/a.safetensors", "one")
    assert not policy.offences(folder, before)
    commit(folder, "weights/a.safetensors", "two")
    assert "a.safetensors has 2 new versions" in policy.offences(folder, before)[0]


def test_a_release_tag_begins_a_new_range(repository):
    folder, before = repository
    commit(folder, "weights/a.safetensors", "one")
    policy.git(folder, "tag", "v0.9.0")
    commit(folder, "weights/a.safetensors", "two")
    policy.git(folder, "tag", "not-a-release")
    assert policy.base(folder, before) == ["v0.9.0"]
    assert not policy.offences(folder, before)
    commit(folder, "weights/a.safetensors", "three")
    assert policy.offences(folder, before)


def test_weights_that_were_committed_and_removed_again_count(repository):
    folder, before = repository
    commit(folder, "runs/first/weights.safetensors", "of a run")
    policy.git(folder, "rm", "--quiet", "runs/first/weights.safetensors")
    policy.git(folder, *IDENTITY, "commit", "--quiet", "--message", "remove")
    assert "outside weights/" in policy.offences(folder, before)[0]


def test_a_shallow_clone_counts_what_it_holds(repository, tmp_path):
    folder, _ = repository
    commit(folder, "weights/a.safetensors", "one")
    commit(folder, "weights/a.safetensors", "two")
    for depth, expected in ((1, 0), (2, 0), (3, 1)):
        clone = tmp_path / f"depth-{depth}"
        command = ["git", "clone", "--quiet", "--depth", str(depth), f"file://{folder}", str(clone)]
        subprocess.run(command, check=True, capture_output=True)
        assert len(policy.offences(clone, "0" * 40)) == expected, depth
