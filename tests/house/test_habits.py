"""What a house keeps in order besides its code: CI, hooks, container, citation, documentation site."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML reads the files")
ROOT = Path(__file__).resolve().parents[2]


def tool(name: str) -> str:
    """A program of this environment, or skip."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return found or pytest.skip(f"{name} is not installed: pip install -e '.[dev]'")


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def workflow() -> dict:
    return yaml.safe_load(text(".github/workflows/ci.yml"))


def test_the_workflow_has_the_shape_that_github_wants():
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", ".github/workflows/ci.yml")


def test_the_workflow_calls_make_targets_that_exist():
    targets = set(re.findall(r"^([\w-]+):", text("Makefile"), re.MULTILINE))
    steps = [step["run"] for job in workflow()["jobs"].values() for step in job["steps"] if "run" in step]
    called = {step.split()[1] for step in steps if step.startswith("make ")}
    assert called == {"test-fast", "test", "test-serve", "test-fleet", "test-interop", "cpp", "wheel", "docs"}
    assert called <= targets


def test_the_workflow_runs_every_python_that_the_project_names():
    low, high = (
        int(n) for n in re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', text("pyproject.toml")).groups()
    )
    versions = workflow()["jobs"]["fast"]["strategy"]["matrix"]["python"]
    assert versions == [f"3.{minor}" for minor in range(low, high)]


def test_hooks_use_the_pinned_tools():
    pins = set(re.findall(r"^([\w-]+==[^;\s]+)", text("constraints.txt"), re.MULTILINE))
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    wanted = {pin for hook in hooks for pin in hook.get("additional_dependencies", [])}
    assert wanted
    assert wanted <= pins
    run(tool("pre-commit"), "validate-config")


def test_the_dockerfile_is_clean_and_not_root():
    users = re.findall(r"^USER (\S+)$", text("Dockerfile"), re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")
    run(tool("hadolint"), "--failure-threshold", "info", "Dockerfile")


def test_the_container_gets_every_room_that_is_packaged():
    """.dockerignore lets in what it names: a new room must be among it, or the image would not build."""
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "docs", "examples"}
    let_in = set(re.findall(r"^!(\w+)/$", text(".dockerignore"), re.MULTILINE))
    assert rooms <= let_in


def test_the_citation_has_what_citing_needs():
    citation = yaml.safe_load(text("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    links = {reference["url"] for reference in citation["references"]}
    assert all(link in text("README.md") for link in links)


def test_the_changelog_has_the_categories():
    newest = text("CHANGELOG.md").split("\n## ")[1]
    heads = re.findall(r"^### (.+)$", newest, re.MULTILINE)
    assert heads
    assert set(heads) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="builds the site: pip install -e '.[docs]'")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    shutil.rmtree(ROOT / "build" / "docs", ignore_errors=True)  # as in a fresh clone
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("index", "benchmarks", "weights", "contributing", "reference/runtime", "reference/c"):
        assert (tmp_path / "site" / f"{page}.html").is_file()
    assert "Harmonizer.harmonize_batch" in (tmp_path / "site" / "reference" / "runtime.html").read_text("utf-8")
