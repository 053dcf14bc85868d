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
    """A history with two versions of a weights file before 0.9.0 began."""
    folder = tmp_path / "repository"
    folder.mkdir()
    policy.git(folder, "init", "--quiet")
    commit(folder, "pyproject.toml", 'version = "0.8.0"\n')
    commit(folder, "weights/a.safetensors", "0.8.0, 1")
    commit(folder, "weights/a.safetensors", "0.8.0, 2")
    commit(folder, "pyproject.toml", 'version = "0.9.0"\n')
    return folder


def test_this_history_keeps_the_policy():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    assert not policy.offences(ROOT)


def test_one_new_version_is_fine_and_two_are_not(repository):
    commit(repository, "weights/a.safetensors", "one")
    assert not policy.offences(repository)
    commit(repository, "weights/a.safetensors", "two")
    assert "a.safetensors has 2 new versions" in policy.offences(repository)[0]


def test_the_next_version_begins_a_new_range(repository):
    commit(repository, "weights/a.safetensors", "one")
    commit(repository, "pyproject.toml", 'version = "1.0.0"\n')
    commit(repository, "weights/a.safetensors", "two")
    commit(repository, "pyproject.toml", 'version = "1.0.0"\nname = "a"\n')
    assert not policy.offences(repository)
    commit(repository, "weights/a.safetensors", "three")
    assert policy.offences(repository)


def test_weights_that_come_with_the_version_are_its_own(repository):
    (repository / "pyproject.toml").write_text('version = "1.0.0"\n')
    policy.git(repository, "add", "pyproject.toml")
    commit(repository, "weights/a.safetensors", "one")
    commit(repository, "weights/a.safetensors", "two")
    assert policy.offences(repository)


def test_a_clone_without_tags_counts_the_same(repository, tmp_path):
    policy.git(repository, "tag", "v0.8.0", "HEAD~1")
    commit(repository, "weights/a.safetensors", "one")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-tags", str(repository), str(clone)], check=True)
    assert policy.base(clone) == policy.base(repository)
    assert not policy.offences(clone)


def test_weights_that_were_committed_and_removed_again_count(repository):
    commit(repository, "runs/first/weights.safetensors", "of a run")
    policy.git(repository, "rm", "--quiet", "runs/first/weights.safetensors")
    policy.git(repository, *IDENTITY, "commit", "--quiet", "--message", "remove")
    assert "outside weights/" in policy.offences(repository)[0]


def test_a_shallow_clone_counts_what_it_holds(repository, tmp_path):
    commit(repository, "weights/a.safetensors", "one")
    commit(repository, "weights/a.safetensors", "two")
    for depth, expected in ((1, 0), (2, 0), (3, 1), (4, 1)):
        clone = tmp_path / f"depth-{depth}"
        command = ["git", "clone", "--quiet", "--depth", str(depth), f"file://{repository}", str(clone)]
        subprocess.run(command, check=True, capture_output=True)
        assert len(policy.offences(clone)) == expected, depth
