"""Documents tell the truth: what they show runs, and what they name exists."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fakes.clips import make_clip

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves the folder of a test out
from documents import ROOT, SHELLS, Block, blocks, commands, documents, inline_commands

sys.path.pop(0)

DOCUMENTS = [str(path.relative_to(ROOT)) for path in documents()]
HISTORY = ("CHANGELOG.md", "docs/training_log.md", "benchmarks/results/README.md")
"""Documents of what was: names and options that are gone may stand there."""
NO_MODULES = ("harmonyrt.meaning", "harmonyrt.json")
"""Keys of metadata that look like modules."""
BLOCKS = [block for path in documents() for block in blocks(path)]
RUN = [b for b in BLOCKS if b.language in (*SHELLS, "python") and "needs" not in b.marks]
BY_DOCUMENT = {name: [b for b in RUN if b.document == name] for name in dict.fromkeys(b.document for b in RUN)}
FOLDERS = "benchmarks|calibration|cli|common|docs|evaluation|examples|export|models|runtime|tests|training|weights"


def lane(name: str):
    """The blocks of a document run in order in one folder, so one slow block makes the document slow."""
    slow = any(b.marks.get("runs") == "slow" for b in BY_DOCUMENT[name])
    return pytest.param(name, marks=pytest.mark.slow) if slow else name


# ---- what they show runs


@pytest.fixture
def place(tmp_path, bundle, monkeypatch) -> Path:
    """A folder with what documents take for granted: images, folders of them, a bundle, the checkout's folders."""
    for name in ("examples", "weights", "export"):
        (tmp_path / name).symlink_to(ROOT / name)
    composite = Image.open(ROOT / "examples" / "lemur.jpg").convert("RGB").resize((96, 64))
    mask = Image.open(ROOT / "examples" / "lemur_mask.png").convert("L").resize((96, 64))
    for folder in ("composites", "masks", "bundles"):
        (tmp_path / folder).mkdir()
    composite.save(tmp_path / "composite.png")
    composite.save(tmp_path / "composite.jpg")
    composite.save(tmp_path / "composites" / "photo.jpg")
    for clip, picture, pix_fmt in (("shot.mp4", composite, "yuv420p"), ("mask.mp4", mask, "gray")):
        frames = (av.VideoFrame.from_image(picture).reformat(format=pix_fmt) for _ in range(6))
        make_clip(tmp_path / clip, frames, "libx264")
    mask.save(tmp_path / "mask.png")
    mask.save(tmp_path / "masks" / "photo.png")
    cutout = composite.copy()
    cutout.putalpha(mask)
    cutout.save(tmp_path / "cutout.png")
    for name in ("phnet-128-fp32", "phnet-256-fp32"):
        shutil.copytree(bundle, tmp_path / "engines" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def given() -> dict:
    """Values of the names that a `given` mark may ask for."""
    from harmonyrt.runtime import Harmonizer

    composite, mask = Image.open("composite.png"), Image.open("mask.png")
    side = 32
    return {
        "composite": composite,
        "mask": mask,
        "composites": [composite, composite],
        "masks": [mask, mask],
        "pairs": [(composite, mask)],
        "rgb": np.asarray(composite),
        "grey": np.asarray(mask),
        "bundle": "engines/phnet-128-fp32",
        "harmonizer": Harmonizer.open("engines/phnet-128-fp32"),
        "image_tensor": np.full((1, 3, side, side), 0.5, np.float32),
        "mask_tensor": np.ones((1, 1, side, side), np.float32),
    }


def run_shell(block: Block, place: Path) -> None:
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", block.script()], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, f"{block.name}:\n{block.script()}\n{(done.stdout + done.stderr)[-3000:]}"


def run_python(block: Block, names: dict) -> None:
    wanted = [name.strip() for name in block.marks.get("given", "").split(",") if name.strip()]
    if wanted:
        values = given()
        names |= {name: values[name] for name in wanted}
    code = compile(block.text, block.name, "exec")
    exec(code, names)


@pytest.mark.parametrize("document", [lane(name) for name in BY_DOCUMENT])
def test_blocks_run(document, place):
    names: dict = {"__name__": "document"}
    for block in BY_DOCUMENT[document]:
        if block.language == "python":
            run_python(block, names)
        else:
            run_shell(block, place)


def test_blocks_have_a_language_and_python_compiles():
    for block in BLOCKS:
        assert block.language, f"{block.name} has no language after its fence (text, if it is none)"
        if block.language == "python":
            compile(block.text, block.name, "exec")


# ---- what they name exists


@functools.cache
def options_of(verb: tuple[str, ...]) -> str:
    """The help of a verb; empty if there is none of that name."""
    from harmonyrt.cli.main import main

    out, plain = io.StringIO(), {"COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1"}
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        for name, value in plain.items():
            patch.setenv(name, value)
        try:
            code = main([*verb, "--help"])
        except SystemExit as ended:  # argparse's way
            code = ended.code
    return out.getvalue() if code == 0 else ""


def check_command(words: list[str], where: str) -> None:
    if words[0] == "harmonyrt" or words[:2] == ["python", "export/build_engines.py"]:
        rest = words[1:] if words[0] == "harmonyrt" else ["build", *words[2:]]
        if rest[0].startswith("-") or rest[0] == "VERB":
            return
        verb = ("build", "diffharmony") if rest[:2] == ["build", "diffharmony"] else (rest[0],)
        text = options_of(verb)
        assert text, f"{where}: harmonyrt {' '.join(verb)} is no verb"
        for option in (word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)):
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text), f"{where}: {verb} has no {option}"
    elif words[:2] == ["python", "-m"] and words[2].startswith("harmonyrt"):
        assert importlib.util.find_spec(words[2]), f"{where}: there is no module {words[2]}"
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        for target in (w for w in words[1:] if "=" not in w and not w.startswith("-")):
            assert target in targets, f"{where}: make has no target {target}"


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d not in HISTORY])
def test_commands_have_the_verbs_and_options_that_are_shown(document):
    for block in blocks(ROOT / document):
        if block.language in SHELLS:
            for words in commands(block.script()):
                check_command(words, block.name)
    for words in inline_commands((ROOT / document).read_text(encoding="utf-8")):
        check_command(words, document)


def verbs() -> list[tuple[str, ...]]:
    """The verbs of the command line; a family of `build` has its own options."""
    found = re.findall(r"^│ ([a-z-]+)  ", options_of(()), re.MULTILINE)
    return [*((verb,) for verb in found if not verb.startswith("-")), ("build", "phnet"), ("build", "diffharmony")]


def test_every_option_stands_in_a_guide():
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))
    missing: set[str] = set()
    assert len(verbs()) > 15
    for verb in verbs():
        options = set(re.findall(r"^[│ ]+(?:-\w, |\*? +)?(--[a-z][a-z0-9-]*)", options_of(verb), re.MULTILINE))
        assert len(options) > 1, verb
        missing |= {f"{' '.join(verb)} {option}" for option in options - shown - {"--help"}}
    assert not missing, "say in a guide what these are for"


def prose_and_blocks(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d not in HISTORY])
def test_files_and_names_exist(document):
    text = prose_and_blocks(document)
    for name in set(
        re.findall(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]+\.(?:py|md|json|sh|h|hpp|cpp|c|jpg|png))\b", text)
    ):
        sibling = (ROOT / document).parent / name
        shown = any(name in block.text for block in blocks(ROOT / document))
        assert (ROOT / name).exists() or sibling.exists() or shown or "my_" in name, f"{document}: there is no {name}"
    for name in set(re.findall(r"\bharmonyrt(?:\.[A-Za-z_]\w*)+", text)):
        if name not in NO_MODULES and not name.endswith((".h", ".hpp", ".service")):
            assert resolves(name), f"{document}: there is no {name}"


def resolves(name: str) -> bool:
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("harmonyrt"):
                pytest.skip(f"{name} needs the package {error.name}")
            continue
        for attribute in parts[end:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    heads = re.findall(r"^#+\s+(.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", head).lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = re.sub(r"```.*?```", "", prose_and_blocks(document), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)", text):
        if "://" in target:
            continue
        path = (ROOT / document).parent / target if target else ROOT / document
        assert path.exists(), f"{document}: {target} is not there"
        if anchor:
            assert anchor in anchors(path), f"{document}: {target} has no heading #{anchor}"


def test_code_cites_documents_and_sections_that_exist():
    listed = subprocess.run(["git", "ls-files", "*.py", "*.cpp", "*.hpp", "*.h", "*.c", "*.cu"], cwd=ROOT,
                            capture_output=True, text=True, check=True)  # fmt: skip
    for name in listed.stdout.splitlines():
        text = (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).is_file() else ""
        for document, section in re.findall(r'\b(docs/\w+\.md)(?:, "([^"\n]+)")?', text):
            assert (ROOT / document).is_file(), f"{name} cites {document}"
            if section:
                heads = re.findall(r"^#+ (.+)$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
                assert section in heads, f'{name} cites {document}, "{section}"'


def test_the_readme_is_short():
    text = re.sub(r"<!--.*?-->", "", prose_and_blocks("README.md"))
    assert len(text.split()) < 600


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_stand_in_fences(document):
    """An indented block has no language and no marks, so nothing would run or check it."""
    text = re.sub(r"```.*?```", "", prose_and_blocks(document), flags=re.DOTALL)
    assert not re.search(r"^ {4}(harmonyrt|pip|python|make|from|import) ", text, re.MULTILINE), document
