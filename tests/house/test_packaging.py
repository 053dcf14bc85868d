"""What is installed is what is in the checkout, and nothing lands next to it in site-packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).resolve().parents[2]
NOT_INSTALLED = {"tests", "docs", "examples", "benchmarks/studies"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages_in_the_checkout() -> set[str]:
    found = subprocess.run(["git", "ls-files", "*__init__.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    folders = {Path(line).parent for line in found.stdout.splitlines()}
    return {
        "harmonyrt." + ".".join(f.parts)
        for f in folders
        if f.parts and not {str(f), *map(str, f.parents)} & NOT_INSTALLED
    }


def test_every_package_is_listed():
    assert set(project()["tool"]["setuptools"]["packages"]) == packages_in_the_checkout()


def test_every_extra_is_named_in_messages_as_it_is_called():
    """`require()` names an extra in its message: it has to exist."""
    extras = set(project()["project"]["optional-dependencies"])
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for path in (ROOT / name for name in names):
        if path.name == Path(__file__).name or not path.is_file():
            continue
        for part in path.read_text(errors="replace").split("'harmonyrt[")[1:]:
            for name in part.split("]")[0].split(","):
                assert name in extras or "{" in name or name == "extra", f"{path}: harmonyrt[{name}]"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: setuptools leaves a build folder next to its sources and packs what an older one left."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if not name.startswith(("tests/", "docs/")) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(out.glob("*.whl"))


def test_wheel_holds_only_the_namespace(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")} == {"harmonyrt"}
    assert "harmonyrt/__init__.py" not in names
    assert not any(name.startswith("harmonyrt/benchmarks/studies") for name in names)


def test_wheel_brings_the_kernels(wheel):
    from harmonyrt.runtime.kernels import nvrtc

    names = zipfile.ZipFile(wheel).namelist()
    assert {f"harmonyrt/runtime/kernels/{name}" for name in nvrtc.source_files()} <= set(names)


def test_wheel_brings_the_page(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    listed = subprocess.run(["git", "ls-files", "serving/page"], cwd=ROOT, capture_output=True, text=True, check=True)
    page = listed.stdout.splitlines()
    assert "serving/page/index.html" in page
    assert {f"harmonyrt/{name}" for name in page} <= set(names)


def test_wheel_works_outside_the_checkout(wheel, tmp_path):
    """Unpacked elsewhere, the checkout and its editable install out of sight, the rooms import and find the weights."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in getattr(f, '__module__', '')"
        " and 'Editable' not in getattr(f, '__name__', '')]\n"
        f"sys.path.insert(0, {str(site)!r})\n"
        "import harmonyrt.models, harmonyrt.runtime, harmonyrt.export.build.job, harmonyrt.cli.main\n"
        "from harmonyrt.models import load_phnet\n"
        "from harmonyrt.export.phnet.recipe import find_checkpoint\n"
        f"assert harmonyrt.models.__file__.startswith({str(site)!r}), harmonyrt.models.__file__\n"
        "print(load_phnet(find_checkpoint(None)).config.output)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "residual"


CHOSEN_BY_THE_GPU = {"tensorrt"}
"""The release depends on the machine (docs/tensorrt.md, docs/v100.md), so that no pin can be right."""


def test_every_package_of_an_extra_is_pinned():
    pins = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    extras = project()["project"]["optional-dependencies"]
    wanted = {re.match(r"[\w.-]+", requirement)[0] for extra in extras.values() for requirement in extra}
    assert wanted - pins - CHOSEN_BY_THE_GPU == {"harmonyrt"}
